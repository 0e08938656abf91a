package enrol

import (
	"context"
	"net/netip"
	"time"
)

// Purge purges as of a time.
func Purge(ctx context.Context, s *Service, now time.Time) error { return s.purge(ctx, now) }

// EncodeToken writes the stored form.
func EncodeToken(t Token) (string, error) { return t.encode() }

// ParseToken reads it.
func ParseToken(text string) (Token, error) { return parseToken(text) }

// CheckRequest reads a request for a certificate.
func CheckRequest(der []byte) error {
	_, err := parseRequest(der)
	return err
}

// Crowd counts who is here.
type Crowd struct{ crowd }

// Enter lets one in.
func (c *Crowd) Enter(from netip.Addr) bool { return c.enter(from) }

// Leave lets one out.
func (c *Crowd) Leave(from netip.Addr) { c.leave(from) }
