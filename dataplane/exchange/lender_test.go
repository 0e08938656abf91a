package exchange_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// purse lends what is left in it.
type purse int64

func (p *purse) Lend(n int64) bool {
	if n > int64(*p) {
		return false
	}
	*p -= purse(n)
	return true
}

// Bodies are held as long as there is memory for them. BufferBody fails without, Hold leaves the rest to come as it comes; what was
// lent is known at the end either way.
func TestBodiesAreHeldInLentMemory(t *testing.T) {
	t.Parallel()
	const most = 1 << 20
	tests := map[string]struct {
		body    int
		purse   int64
		refused bool
	}{
		"small":             {60 << 10, 0, false},
		"small, at the rim": {64 << 10, 0, false},
		"large":             {300 << 10, most, false},
		"large, poor":       {300 << 10, 60 << 10, true},
		"large, half":       {300 << 10, 200 << 10, true},
	}
	for name, test := range tests {
		for _, known := range []bool{true, false} {
			body := strings.Repeat("0123456789abcdef", test.body/16)
			begin := func() (*exchange.Exchange, *purse) {
				ex, p := new(exchange.Exchange), purse(test.purse)
				ex.Request.Body, ex.Request.ContentLength, ex.Lender = io.MultiReader(strings.NewReader(body)), -1, &p
				if known {
					ex.Request.ContentLength = int64(len(body))
				}
				return ex, &p
			}
			ex, p := begin()
			got, err := ex.BufferBody(most)
			if refused := errors.Is(err, exchange.ErrBodyRoom); refused != test.refused || !refused && string(got) != body {
				t.Errorf("%s, known %v: %d bytes, %v", name, known, len(got), err)
			}
			if lent := test.purse - int64(*p); ex.Repay() != lent || ex.Repay() != 0 || (lent > 0) != (test.body > 64<<10 && test.purse > 64<<10) {
				t.Errorf("%s, known %v: %d bytes were lent", name, known, lent)
			}
			ex, p = begin()
			whole, err := ex.Hold(most)
			rest, readErr := io.ReadAll(ex.Request.Body)
			if whole == test.refused || err != nil || readErr != nil || string(rest) != body || ex.Repay() != test.purse-int64(*p) {
				t.Errorf("%s, known %v: held whole %v, %d bytes, %v, %v", name, known, whole, len(rest), err, readErr)
			}
		}
	}
}
