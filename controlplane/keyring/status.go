package keyring

// Listing is what GET /keyring shows.
type Listing struct {
	IDs    []string `json:"ids"`    // keys whose material is here, oldest first
	Active string   `json:"active"` // "" when its material is missing, or it waits
}

// KeyStatus is one key for people: "active", "standby", "deactivated", "missing", "lost", "removed" or "refused".
type KeyStatus struct {
	ID          string `json:"id"`
	State       string `json:"state"`
	Reason      string `json:"reason,omitempty"` // why it is missing, or its stored row is refused
	CreatedAt   int64  `json:"created_at"`
	ActivatedAt int64  `json:"activated_at,omitempty"`
	Recoverable bool   `json:"recoverable"` // its material is kept for the recovery key
}

// Refused counts what was not believed since the start.
type Refused struct {
	Rows     uint64 `json:"rows"`
	Heads    uint64 `json:"heads"`
	Material uint64 `json:"material"`
}

// Status is the keyring for status pages. State is "ready" when every key is held, "incomplete" when the
// active one is held and another is not, "missing" when the active one is not, "waiting" while the first key is not
// held by every node that lives, where each opens it by its own plugin.
type Status struct {
	Strategy     string      `json:"strategy"`
	State        string      `json:"state"`
	Active       string      `json:"active,omitempty"` // also when missing
	Sequence     uint64      `json:"sequence"`         // of the head that this node follows
	Joined       bool        `json:"joined"`
	Keys         []KeyStatus `json:"keys"`
	Refused      Refused     `json:"refused"`
	MemoryLocked bool        `json:"memory_locked"` // all held material is kept out of swap; key schedules on Go's heap are not
	Warnings     []string    `json:"warnings,omitempty"`
}

// Keys lists the keys that this node holds and the active one.
func (r *Ring) Keys() Listing {
	s := r.state.Load()
	listing := Listing{IDs: append([]string{}, s.heldIDs()...)}
	if s.ready() && !s.waits {
		listing.Active = s.head.Active
	}
	return listing
}

// Warnings says what an operator should know at every start.
func (r *Ring) Warnings() []string {
	warnings := r.keeper.Warnings()
	s := r.state.Load()
	if s.refused != "" && !s.named {
		warnings = append(warnings, "keyring: the stored head, which says what key is active, is refused: "+s.refused+". "+
			"The ring keeps what it has. To go on, POST /keyring/activate with the id of a key that this node holds; one that it does not hold, POST /keyring/recover first")
	}
	for _, e := range s.keys {
		switch state := s.stateOf(e); {
		case e.refused != "" && e.trusted:
			warnings = append(warnings, "keyring: the stored row of key "+e.row.ID+" is refused: "+e.refused+". This node goes on with what it knew of the key")
		case state == "refused":
			warnings = append(warnings, "keyring: the stored row of key "+e.row.ID+" is refused: "+e.refused+". If you trust it all the same, POST /keyring/recover with accept_unproven="+e.row.ID)
		case state == "missing":
			warnings = append(warnings, "keyring: key "+e.row.ID+" is missing: "+e.reason)
		}
	}
	return warnings
}

// Status describes the keyring.
func (r *Ring) Status() Status {
	s := r.state.Load()
	status := Status{
		Strategy: r.keeper.Strategy(), State: "ready", Active: s.head.Active, Sequence: s.head.Sequence, Joined: r.joined.Load(),
		Keys: []KeyStatus{}, MemoryLocked: true, Warnings: r.Warnings(),
		Refused: Refused{r.refused.rows.Load(), r.refused.heads.Load(), r.refused.material.Load()},
	}
	for _, e := range s.keys {
		key := KeyStatus{ID: e.row.ID, State: s.stateOf(e), Reason: e.refused, CreatedAt: e.row.CreatedAt, ActivatedAt: e.row.ActivatedAt, Recoverable: len(e.row.Recovery) > 0}
		if key.State == "missing" {
			key.Reason = e.reason
			status.State = "incomplete"
		}
		if e.held != nil && !e.held.locked {
			status.MemoryLocked = false
		}
		status.Keys = append(status.Keys, key)
	}
	switch {
	case !s.ready():
		status.State = "missing"
	case s.waits:
		status.State = "waiting"
	}
	return status
}

func (s *state) stateOf(e *entry) string {
	switch {
	case !e.trusted && e.refused != "":
		return "refused"
	case e.row.State == StateRemoved:
		return "removed"
	case e.held != nil && e.row.ID == s.head.Active && !s.waits:
		return "active"
	case e.held != nil && e.row.State == StateDeactivated:
		return "deactivated"
	case e.held != nil:
		return "standby"
	case e.row.State == StateLost:
		return "lost"
	}
	return "missing"
}
