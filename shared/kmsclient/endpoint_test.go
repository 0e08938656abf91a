package kmsclient_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
)

func TestEndpointsThatAreRefused(t *testing.T) {
	t.Parallel()
	for endpoint, says := range map[string]string{
		"":                                    "unix:///path",
		"/run/kms.sock":                       "write unix:///run/kms.sock",
		"run/kms.sock":                        "unix:///path",
		"tcp://127.0.0.1:9000":                `"tcp"`,
		"https://kms.example.com":             `"https"`,
		"unix://run/kms.sock":                 "write unix:///run/kms.sock",
		"unix://kms.sock":                     "write unix:///kms.sock",
		"unix:run/kms.sock":                   "relative",
		"unix://":                             "names no socket",
		"unix:///":                            "names no socket",
		"unix:///run/":                        "names no socket",
		"unix:///@":                           "names no socket",
		"unix://@name":                        "unix:///@name",
		"unix://user:hunter2@/run/kms.sock":   "only a path",
		"unix:///run/kms.sock?x=1":            "%3F",
		"unix:///run/kms.sock?":               "%3F",
		"unix:///run/kms.sock#x":              "%23",
		"unix:///run/kms%00.sock":             "zero byte",
		"unix:///run/%zz":                     "not a URL",
		"unix:///" + strings.Repeat("x", 107): "107",
		"ldap://user:hunter2@host/x":          `"ldap"`,
		"://hunter2":                          "not a URL",
	} {
		err := kmsclient.CheckEndpoint(endpoint)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("CheckEndpoint(%q) = %v, want kind %v and %q, and no password", endpoint, err, fault.Invalid, says)
		}
		if _, made := kmsclient.NewV2(kmsclient.Options{Name: "x", Endpoint: endpoint}); fault.KindOf(made) != fault.Invalid {
			t.Errorf("NewV2 takes %q: %v", endpoint, made)
		}
	}
	for _, endpoint := range []string{
		"unix:///run/kms.sock", "unix:///@name", "unix:/run/kms.sock", "unix:///run/with%20blank", "UNIX:///run/kms.sock",
		"unix:///" + strings.Repeat("x", 106),
	} {
		if err := kmsclient.CheckEndpoint(endpoint); err != nil {
			t.Errorf("CheckEndpoint(%q) = %v", endpoint, err)
		}
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]kmsclient.Options{
		"no name":            {Endpoint: "unix:///x"},
		"a negative timeout": {Name: "x", Endpoint: "unix:///x", Timeout: -time.Second},
	} {
		if _, err := kmsclient.NewV2(options); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: NewV2 = %v", name, err)
		}
		if _, err := kmsclient.NewV1(options); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: NewV1 = %v", name, err)
		}
	}
}

// Whatever is taken dials the socket that it spells, and nothing that it does not spell.
func FuzzCheckEndpoint(f *testing.F) {
	for _, seed := range []string{"unix:///run/kms.sock", "unix:///@name", "unix://run/kms.sock", "tcp://1.2.3.4:5", "unix:x", "unix:///a%2Fb", "unix:////a", "unix:///a?b#c", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, endpoint string) {
		if err := kmsclient.CheckEndpoint(endpoint); err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("CheckEndpoint(%q) = %v", endpoint, err)
			}
			return
		}
		scheme, rest, found := strings.Cut(endpoint, ":")
		if !found || !strings.EqualFold(scheme, "unix") || !strings.HasPrefix(strings.TrimPrefix(rest, "//"), "/") || strings.ContainsAny(rest, "?#") {
			t.Errorf("CheckEndpoint takes %q", endpoint)
		}
	})
}
