package exchange_test

import (
	"errors"
	"io"
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// A client that announces a long body gets memory for what it sends, not for what it says.
func TestRoomIsPaidForWithBytes(t *testing.T) {
	t.Parallel()
	const most = 1 << 20
	for name, buffer := range map[string]func(ex *exchange.Exchange) error{
		"BufferBody": func(ex *exchange.Exchange) error { _, err := ex.BufferBody(most); return err },
		"Hold":       func(ex *exchange.Exchange) error { _, err := ex.Hold(most); return err },
	} {
		for _, length := range []int64{most, -1} {
			sent, offered := 0, 0
			body := reader(func(p []byte) (int, error) {
				offered = max(offered, len(p))
				if len(p) > max(16<<10, sent)+1 {
					return 0, errors.New("too much room")
				}
				n := min(len(p), most-sent)
				if sent += n; n == 0 {
					return 0, io.EOF
				}
				return n, nil
			})
			ex := new(exchange.Exchange)
			ex.Request.Body, ex.Request.ContentLength = body, length
			if err := buffer(ex); err != nil || sent != most {
				t.Errorf("%s of %d: %d bytes sent, room for %d at once, %v", name, length, sent, offered, err)
			}
		}
	}
}

type reader func(p []byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }
