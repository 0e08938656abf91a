package dial

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
)

// closedWith is a connection that the other end closed after it had said something.
type closedWith struct {
	net.Conn
	said   []byte
	writes error
}

func (c *closedWith) Write([]byte) (int, error) { return 0, c.writes }

func (c *closedWith) Read(p []byte) (int, error) {
	if len(c.said) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.said)
	c.said = c.said[n:]
	return n, nil
}

// What the server said before it closed is read before anybody hears that it closed.
func TestTheLastWordIsHeard(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fails error
		first bool // the first write fails
	}{
		"reset":       {syscall.ECONNRESET, false},
		"broken pipe": {&net.OpError{Op: "write", Err: syscall.EPIPE}, false},
		"silence":     {&net.OpError{Op: "write", Err: syscall.ETIMEDOUT}, true},
	} {
		h := &heard{Conn: &closedWith{said: []byte("alert"), writes: test.fails}}
		if _, err := h.Write([]byte("startup")); (err != nil) != test.first {
			t.Errorf("%s: the first write: %v", name, err)
		}
		word, err := io.ReadAll(h)
		if err != nil || string(word) != "alert" {
			t.Errorf("%s: heard %q, %v", name, word, err)
		}
		if _, err := h.Write([]byte("more")); !errors.Is(err, test.fails) {
			t.Errorf("%s: the second write: %v", name, err)
		}
	}
}
