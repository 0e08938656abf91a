package plugin

import "github.com/keepgate/keepgate/shared/reserved"

// Reserved says whether a request's header of that name is the gateway's own to write: it frames the message or says who the
// client is. A configuration that wants to write one is refused. "_" counts as "-", see [exchange.Header.DelLoose].
func Reserved(name string) bool { return reserved.Header(name) }
