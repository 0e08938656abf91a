package reserved_test

import (
	"testing"

	"github.com/keepgate/keepgate/shared/reserved"
)

func TestHeaders(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][2]bool{ // frames, identifies
		"Host": {true, false}, "hOST": {true, false}, "Hosts": {}, "X-Host": {},
		"content-length": {true, false}, "Content_Length": {true, false}, "Content-Lengt": {}, "te": {true, false}, "keep_alive": {true, false},
		"X-Consumer-ID": {false, true}, "x_consumer_anything": {false, true}, "X-Consumer-": {false, true}, "X-Consumer": {}, "Y-Consumer-ID": {},
		"x-credential_identifier": {false, true}, "X-Credential-Identifiers": {}, "X-Anonymous-Consumer": {false, true},
		"X-Authenticated-Groups": {false, true}, "X-Client-Cert-DN": {false, true}, "x-client-cert-san": {false, true}, "X-Client-Cert": {},
		"": {}, "X": {}, "X-Value": {}, "Authorization": {},
	} {
		if got := [2]bool{reserved.Frames(name), reserved.Identifies(name)}; got != want {
			t.Errorf("%q: frames %t, identifies %t", name, got[0], got[1])
		}
		if reserved.Header(name) != (want[0] || want[1]) {
			t.Errorf("%q: Header is %t", name, reserved.Header(name))
		}
	}
}

func TestLooseNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, other  string
		same, begins bool
	}{
		{"X-Consumer_ID", "x_consumer-id", true, true},
		{"X-Consumer-IDs", "x-consumer-id", false, true},
		{"X-Consumer", "X-Consumer-", false, false},
		{"", "", true, true},
		{"a@", "A`", false, false}, // letters alone have a case
		{"k", "\u212a", false, false},
	} {
		if same, begins := reserved.Same(test.name, test.other), reserved.Begins(test.name, test.other); same != test.same || begins != test.begins {
			t.Errorf("%q and %q: Same %t, Begins %t", test.name, test.other, same, begins)
		}
	}
}
