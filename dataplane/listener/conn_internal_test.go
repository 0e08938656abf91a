package listener

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// Deadlines of writes may come late when they lie far ahead; those that are to end something at once never are passed over.
func TestWriteDeadlines(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	other, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	c, ok := ours(accepted, new(crowd)).(*conn)
	if !ok {
		t.Fatalf("%T", accepted)
	}
	now := time.Now()
	steps := []struct {
		name    string
		set     func() error
		inForce time.Time // zero: none that stands for others
		fails   bool
	}{
		{"far ahead", func() error { return c.SetWriteDeadline(now.Add(time.Minute)) }, now.Add(61 * time.Second), false},
		{"a little further", func() error { return c.SetWriteDeadline(now.Add(60500 * time.Millisecond)) }, now.Add(61 * time.Second), false},
		{"much further", func() error { return c.SetWriteDeadline(now.Add(62 * time.Second)) }, now.Add(63 * time.Second), false},
		{"over", func() error { return c.SetWriteDeadline(time.Unix(1, 0)) }, time.Time{}, true},
		{"far ahead again", func() error { return c.SetWriteDeadline(now.Add(62 * time.Second)) }, now.Add(63 * time.Second), false},
		{"both over", func() error { return c.SetDeadline(time.Unix(1, 0)) }, time.Time{}, true},
		{"far ahead once more", func() error { return c.SetWriteDeadline(now.Add(62 * time.Second)) }, now.Add(63 * time.Second), false},
		{"none", func() error { return c.SetWriteDeadline(time.Time{}) }, time.Time{}, false},
	}
	for _, step := range steps {
		if err := step.set(); err != nil {
			t.Fatal(err)
		}
		want := int64(0)
		if !step.inForce.IsZero() {
			want = step.inForce.UnixNano()
		}
		if got := c.writeBy.Load(); got != want {
			t.Errorf("%s: %v in force, want %v", step.name, got, want)
		}
		if _, err := c.Write([]byte("x")); errors.Is(err, os.ErrDeadlineExceeded) != step.fails || !step.fails && err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
	}
}
