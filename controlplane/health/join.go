package health

import (
	"context"
	"net/http"
)

// Joiner is a Node that knows whether a data plane that is new could join it right now. Certificates that expired show late otherwise:
// links that stand go on.
type Joiner interface {
	// Joinable returns why not, or nil.
	Joinable(ctx context.Context) error
}

// joining answers 200, or 503 and the reason.
func joining(node Node) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		joiner, ok := node.(Joiner)
		if !ok {
			answer(w, http.StatusNotFound, map[string]any{"message": "this node serves no data planes"})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		if err := joiner.Joinable(ctx); err != nil {
			answer(w, http.StatusServiceUnavailable, map[string]any{"message": err.Error()})
			return
		}
		answer(w, http.StatusOK, map[string]any{"message": "a data plane that is new could join"})
	}
}
