package mtlsauth

import "github.com/keepgate/keepgate/dataplane/plugin"

// owner is whose a certificate is.
type owner struct {
	consumer *plugin.Consumer // nil: nobody's
	by       string           // the credential's id, or the name that was found, or the first one
	unsure   bool             // something that cannot be read may say so: then it is nobody's, the default's neither
}

func (o owner) why() string {
	if o.unsure {
		return "whose it is may be said by an entity that cannot be read"
	}
	return "it belongs to no consumer"
}

// find looks for a consumer in Kong's order: by a credential for the authority, by one for any authority, then by
// what consumers are called. It ends where something that cannot be read may come first: what comes later is for
// somebody else.
func (i *instance) find(consumers *plugin.Consumers, t *trust, w *way) owner {
	s := t.of
	for _, called := range w.names.subject {
		if w.strangers && s.mayBePinned(called, t.missing) {
			return owner{unsure: true}
		}
		for _, authority := range w.authorities {
			if found, told := s.owner(subject{called, authority}); told {
				return found
			}
		}
	}
	for _, called := range w.names.subject {
		if found, told := s.owner(subject{called, ""}); told {
			return found
		}
	}
	for _, called := range w.names.subject {
		for _, by := range i.consumerBy {
			if consumer := by.find(consumers, called); consumer != nil {
				return owner{consumer: consumer, by: called}
			}
			if s.hidden[by].has(called) {
				return owner{unsure: true}
			}
		}
	}
	if len(w.names.subject) > 0 {
		return owner{by: w.names.subject[0]}
	}
	return owner{}
}

// naming is one of the two ways in which a consumer is called.
type naming uint8

const (
	username naming = iota
	customID
	namings
)

func (n naming) find(consumers *plugin.Consumers, called string) *plugin.Consumer {
	if n == username {
		return consumers.WithUsername(called)
	}
	return consumers.WithCustomID(called)
}
