package basicauth

import (
	"net/http"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// FuzzParse: whatever we accept, net/http reads in the same way.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"Basic YWw6cGFzczp3b3Jk", "basic YWw6", "Basic Og==", "Basic", "Bearer x", "Basic YWw6cGFzczp3b3Jk=", "Basic  YWw6cGFzczp3b3Jk"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		user, password, ok := parse(new(exchange.Exchange), value)
		if !ok {
			return
		}
		// RFC 9110 §11.4 allows several spaces after the scheme, net/http one.
		value = value[:len("Basic ")] + strings.Trim(value[len("Basic "):], " ")
		r := http.Request{Header: http.Header{"Authorization": {value}}}
		wantUser, wantPassword, wantOK := r.BasicAuth()
		if !wantOK || user != wantUser || string(password) != wantPassword {
			t.Fatalf("%q: a user of %d bytes that net/http does not see", value, len(user))
		}
	})
}
