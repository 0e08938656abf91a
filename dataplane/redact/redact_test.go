package redact_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/redact"
)

func TestParameter(t *testing.T) {
	t.Parallel()
	for raw, secret := range map[string]bool{
		"apikey": true, "APIKEY": true, "api%6bey": true, "%61pikey": true, "x-own": true, "X%2DOwn": true, "my+name": true, "my%20name": true,
		"apikeys": false, "apike": false, "": false, "%": false, "%zz": false, "x_own": false, "apikey%00": false,
	} {
		if got := redact.Parameter(raw, []string{"x-own", "my name"}); got != secret {
			t.Errorf("%q: %v", raw, got)
		}
	}
}

func TestHeader(t *testing.T) {
	t.Parallel()
	for name, secret := range map[string]bool{"authorization": true, "Set-Cookie": true, "x-own": true, "X-Own-Not": false, "Accept": false, "": false} {
		if got := redact.Header(name, []string{"X-Own"}); got != secret {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestAppendURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"/a?token=1&b=2&token": "/a?token=REDACTED&b=2&token", "/?": "/?", "/?&&=": "/?&&=", "/a\"?b\n=1": `/a\x22?b\x0A=1`, "?key=?key=x": "?key=REDACTED",
	} {
		if got := string(redact.AppendURL(nil, raw, nil, redact.Common)); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

// FuzzParameter: a name that a server would read as the secret one is secret, however it is written.
func FuzzParameter(f *testing.F) {
	for _, seed := range []string{"x-own", "%78-own", "X%2dOWN", "x+own", "x%", "%78%2D%6f%77%6e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		name, err := url.QueryUnescape(raw)
		if err == nil && strings.ToLower(name) == "x-own" && !redact.Parameter(raw, []string{"x-own"}) {
			t.Fatalf("%q is %q and would be shown", raw, name)
		}
	})
}

// Neither form lets a client speak to the terminal that a log is read on.
func TestControlsAreEscaped(t *testing.T) {
	t.Parallel()
	const text = "a\x1b[31m\u009b31m\u0085\u00a0é\ufffd\xff\x7f"
	for name, test := range map[string]struct {
		escape redact.Escape
		want   string
	}{
		"common": {redact.Common, "a\\x1B[31m\\xC2\\x9B31m\\xC2\\x85\u00a0é\ufffd\\xFF\\x7F"},
		"JSON":   {redact.JSON, "a\\u001B[31m\\ufffd\\ufffd31m\\ufffd\\ufffd\u00a0é\ufffd\\ufffd\\u007F"},
	} {
		if got := string(redact.AppendQuoted(nil, text, test.escape)); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
