package http2server

import (
	"net"
	"testing"
)

// A connection that has ended while it was on its way to rest is not parked: who ended it has woken nobody, and nobody else would.
func TestWhoHasEndedDoesNotRest(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	s := New(nobody{}, Options{})
	c := newConn(s, nc)
	c.err = codeNone
	if c.park() || s.Resting() != 0 {
		t.Errorf("it is parked; %d rest", s.Resting())
	}
}
