package access

import "context"

// asked is who asks under a context, and for what.
type asked struct {
	caller Caller
	action Action
}

type askedKey struct{}

// With says who asks for what runs under the context.
func With(ctx context.Context, caller Caller, action Action) context.Context {
	return context.WithValue(ctx, askedKey{}, asked{caller, action})
}

// Of returns who asks under a context, and the action that they named. Without, it is nobody, who may do nothing.
func Of(ctx context.Context) (Caller, Action) {
	a, _ := ctx.Value(askedKey{}).(asked)
	if a.action == "" {
		a.action = Read
	}
	return a.caller, a.action
}
