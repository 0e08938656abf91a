package ratelimiting

import (
	"hash/maphash"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// identified tells what a matched service is called; those of dataplane/table do.
type identified interface{ Identity() (id, name string) }

// who names the client that a request counts for, "" when there is none of the kind.
type who func(i *instance, ex *exchange.Exchange) string

// kinds are the values of limit_by.
var kinds = map[string]who{
	"consumer": func(_ *instance, ex *exchange.Exchange) string {
		if ex.Consumer.ID != "" {
			return ex.Consumer.ID
		}
		return ex.Consumer.CredentialID
	},
	"credential": func(_ *instance, ex *exchange.Exchange) string { return ex.Consumer.CredentialID },
	"ip":         func(*instance, *exchange.Exchange) string { return "" },
	"service": func(_ *instance, ex *exchange.Exchange) string {
		if service, ok := ex.Service.(identified); ok {
			id, _ := service.Identity()
			return id
		}
		return ""
	},
	"header": func(i *instance, ex *exchange.Exchange) string { return ex.Request.Header.Get(i.header) },
	"path": func(i *instance, ex *exchange.Exchange) string {
		if ex.Request.Path == i.path {
			return i.path
		}
		return ""
	},
	"consumer-group": func(_ *instance, ex *exchange.Exchange) string {
		if len(ex.Consumer.Groups) > 0 {
			return ex.Consumer.Groups[0].ID // they are ordered by name
		}
		return ""
	},
}

// key is the counter that a request belongs to: a keyed hash of the plugin's entity, of limit_by and of who it is. Two identities
// share a counter by chance once in 2⁶⁴, and nobody can choose one that does.
func (i *instance) key(ex *exchange.Exchange) uint64 {
	if id := i.who(i, ex); id != "" {
		return maphash.String(i.shared.seed, id) ^ i.salt
	}
	address := ex.Request.ClientAddr.As16() // an IPv4 address is the same in either form
	return maphash.Bytes(i.shared.seed, address[:]) ^ i.addressSalt
}

// salt tells the identities of one plugin and kind from those of another.
func (s *shared) salt(plugin, kind string) uint64 {
	return maphash.String(s.seed, strings.Join([]string{"salt", plugin, kind}, "\x00"))
}
