package enrol

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"time"
	"unicode"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// refused notes a refusal in the journal and returns it. A token that is nobody's counts as a guess.
func (s *Service) refused(ctx context.Context, j *joining, err error) error {
	if err == nil {
		return nil
	}
	why, subject := "a fault on this side", "join-token/unknown"
	if r, ok := errors.AsType[*refusal](err); ok {
		why = r.reason
		if r.guess {
			s.failures.Failed(j.from, hashOf(j.hash), time.Now())
		}
		if !r.guess {
			subject = "join-token/" + j.token.ID
		}
		s.options.Log.Warn("a node may not join", "from", j.from.String(), "token", subject, "why", why)
	} else {
		why = fault.KindOf(err).String()
	}
	if s.options.Journal != nil {
		s.options.Journal.Refused(ctx, "enrol.join", subject, "reason", why, "asked_name", printable(j.said.GetName()), "hostname", printable(j.said.GetHostname()))
	}
	return err
}

func hashOf(text string) [sha256.Size]byte { return sha256.Sum256([]byte(text)) }

// nameFor is what the node will be called: as the token says, else as it says itself, else after its host.
func nameFor(t Token, said *enrolv1.JoinRequest) (string, error) {
	asked := said.GetName()
	switch {
	case t.Name != "" && asked != "" && asked != t.Name:
		return "", refuse("the token is for the data plane %q, and not for %q: leave --name out, or ask for another token", t.Name, printable(asked))
	case t.Name != "":
		return t.Name, nil
	case asked != "":
		return asked, nil
	case said.GetHostname() != "":
		return said.GetHostname(), nil
	}
	return "", refuse("the token names no data plane, and the node says no name: join with --name")
}

func nameOf(uri string) string {
	who, err := identity.Parse(uri)
	if err != nil {
		return "NAME"
	}
	return who.Name
}

// printable bounds a label that a stranger wrote, and takes out what does not print.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(cut(text), "?"))
}

func isKey(err error) bool { return strings.HasPrefix(fault.SubjectOf(err), "key/") }
