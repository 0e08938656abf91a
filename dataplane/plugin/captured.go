package plugin

import "github.com/keepgate/keepgate/dataplane/exchange"

// Captured is what the proxy leaves in [ProxySlot] of a matched exchange.
type Captured interface {
	// Captures visits what the groups of the route's expression took from path, by number and, where a group has one, by name.
	Captures(path string, visit func(number int, name, value string))
}

// Captures visits what the groups of the matched route's expression took from the request's path.
func Captures(ex *exchange.Exchange, visit func(number int, name, value string)) {
	if captured, ok := ex.Slot(ProxySlot).(Captured); ok {
		captured.Captures(ex.Request.Path, visit)
	}
}
