package kmsclient

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/shared/fault"
)

// maxQuoted is how much of a plugin's words is repeated.
const maxQuoted = 256

// failure tells what a call came to, and of which provider.
func (l *link) failure(method string, err error) error {
	return fault.Newf(fault.Unavailable, "kmsclient."+path.Base(method), "kms/"+l.options.Name, "%w", err)
}

// breach tells which rule of the protocol an answer breaks.
func (l *link) breach(method string, err error) error {
	return l.failure(method, fmt.Errorf("the plugin breaks the protocol: %w; correct or replace the plugin", err))
}

// ErrNoAnswer says that the plugin let a whole timeout pass: the next call will probably do so too.
var ErrNoAnswer = errors.New("no answer")

// silence is an ErrNoAnswer in words of its own.
type silence struct{ error }

func (silence) Is(target error) bool { return target == ErrNoAnswer }

// unreachable tells why there is no connection.
func (l *link) unreachable() error {
	var cause error
	if last := l.refused.Load(); last != nil {
		cause = *last
	}
	waited := l.options.Timeout
	switch {
	case errors.Is(cause, fs.ErrNotExist):
		return fmt.Errorf("no plugin within %v: there is no socket %q: start the plugin, or correct the endpoint", waited, l.socket)
	case errors.Is(cause, syscall.ECONNREFUSED):
		return fmt.Errorf("no plugin within %v: nobody listens on %q: start the plugin; a socket file that it left behind has to be removed if it does not do so", waited, l.socket)
	case errors.Is(cause, fs.ErrPermission):
		return fmt.Errorf("no plugin within %v: this process may not open %q: give its user access to the socket and its folder", waited, l.socket)
	case cause != nil:
		return fmt.Errorf("no plugin within %v: %w", waited, cause)
	}
	return fmt.Errorf("no plugin within %v: %q takes connections and does not speak gRPC on them: restart the plugin, or correct the endpoint", waited, l.socket)
}

// refusal tells what a plugin answered in place of a result.
func refusal(err error, material []byte) error {
	s, _ := status.FromError(err)
	said := quote(s.Message(), material)
	switch s.Code() {
	case codes.Unimplemented:
		return fmt.Errorf("the plugin does not know this call (%s): does it speak the other KMS version? Set apiVersion accordingly", said)
	case codes.Unavailable:
		return fmt.Errorf("the connection to the plugin broke (%s): see whether it runs", said)
	}
	return fmt.Errorf("the plugin refuses with %v (%s): see its log", s.Code(), said)
}

// quote repeats a plugin's words: a line of them, and not if they repeat material.
func quote(words string, material []byte) string {
	if len(material) > 0 {
		lower := strings.ToLower(words)
		if strings.Contains(words, string(material)) || strings.Contains(lower, hex.EncodeToString(material)) ||
			strings.Contains(words, base64.RawStdEncoding.EncodeToString(material)) ||
			strings.Contains(words, base64.RawURLEncoding.EncodeToString(material)) ||
			strings.Contains(words, strings.Trim(fmt.Sprint(material), "[]")) {
			return "its words are withheld: they repeat what was to be encrypted"
		}
	}
	if len(words) > maxQuoted {
		words = words[:maxQuoted] + "…"
	}
	return fmt.Sprintf("%q", words)
}
