package balancer

import "context"

// ctxOf is the context of a test, be it rapid's or the standard one.
func ctxOf(t any) context.Context {
	if c, ok := t.(interface{ Context() context.Context }); ok {
		return c.Context()
	}
	return context.Background()
}
