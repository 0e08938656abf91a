package health

import (
	"context"
	"net/http"
	"time"
)

// joinPatience is how long an attempt may take.
const joinPatience = 5 * time.Second

// Joiner is a Node that knows whether a data plane that is new could join it right now. Certificates that expired show late otherwise:
// links that stand go on.
type Joiner interface {
	// Joinable tries it and returns why not, or nil.
	Joinable(ctx context.Context) error
	// Joined is what came of it when it was tried last, and when; the zero time: it was not.
	Joined() (at time.Time, err error)
}

// joining answers 200, or 503 and the reason.
func joining(node Node) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		joiner, ok := node.(Joiner)
		if !ok {
			answer(w, http.StatusNotFound, map[string]any{"message": "this node serves no data planes"})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), joinPatience)
		defer cancel()
		if err := joiner.Joinable(ctx); err != nil {
			answer(w, http.StatusServiceUnavailable, map[string]any{"message": err.Error()})
			return
		}
		answer(w, http.StatusOK, map[string]any{"message": "a data plane that is new could join"})
	}
}
