package secrets

import (
	"time"

	"github.com/keepgate/keepgate/shared/secret"
)

// key names a secret: its fields are read together, so that a certificate and its key are of one version.
type key struct {
	at      place
	secret  string
	version int
}

// document is what is known of a secret that the configuration refers to.
type document struct {
	key    key
	vault  *vault
	fields map[string]*known
	times         // the shortest that references ask for
	round  uint64 // in which it was asked for last

	due      time.Time // when to ask (again); zero: never
	fetching bool
	dropped  bool      // nobody refers to it any more
	fetched  time.Time // when the values were read last
	failing  bool      // it could not be asked for since
	fails    int       // failures in a row that concern it alone
}

// known is what is known of a field.
type known struct {
	value      secret.Bytes
	have       bool
	pending    bool   // nothing was heard of it yet
	fault      string // why there is no value
	round      uint64
	generation uint64 // rises when it leads elsewhere
	given      uint64 // the generation that the last compilation used
}

// set takes a value.
func (k *known) set(value secret.Bytes) {
	k.pending, k.fault = false, ""
	if k.have && k.value.Equal(value) {
		value.Wipe()
		return
	}
	k.value.Wipe()
	k.value, k.have = value, true
	k.generation++
}

// lose says that there is no value.
func (k *known) lose(why string) {
	if k.have || k.pending {
		k.generation++
	}
	k.value.Wipe()
	k.value, k.have, k.pending, k.fault = secret.Bytes{}, false, false, why
}

// names are the fields that are wanted.
func (d *document) names() []string {
	names := make([]string, 0, len(d.fields))
	for name := range d.fields {
		names = append(names, name)
	}
	return names
}

func (d *document) any(is func(*known) bool) bool {
	for _, one := range d.fields {
		if is(one) {
			return true
		}
	}
	return false
}

func (d *document) pending() bool { return d.any(func(k *known) bool { return k.pending }) }
func (d *document) has() bool     { return d.any(func(k *known) bool { return k.have }) }

// moved: something of it leads elsewhere than the last compilation was told.
func (d *document) moved() bool { return d.any(func(k *known) bool { return k.generation != k.given }) }

// drop wipes what is known.
func (d *document) drop() {
	d.dropped = true
	for _, one := range d.fields {
		one.lose("")
	}
}

// expires is when values are not used any longer that could not be asked for again; zero: never. While its vault fails one
// question stands for all, so that most are not put.
func (d *document) expires() time.Time {
	if !d.failing && d.vault.fails == 0 || !d.has() || d.resurrect <= 0 || d.ttl <= 0 {
		return time.Time{}
	}
	return d.fetched.Add(d.ttl + d.resurrect)
}

// shorten keeps the shorter of two times, of which 0 is the longest.
func shorten(into *time.Duration, other time.Duration) {
	if other > 0 && (*into <= 0 || other < *into) {
		*into = other
	}
}
