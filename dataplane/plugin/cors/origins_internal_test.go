package cors

import "testing"

// What a browser sends is normalised to the same as by the long way.
func FuzzNormalise(f *testing.F) {
	for _, seed := range []string{"https://a.example", "http://a.example:80", "https://a.example:8443", "https://[::1]:443", "HTTPS://A", "null", "https://a:", "https://a@b", "http://a:080"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, origin string) {
		want, wantHost := normalise(origin)
		if got, host := normaliseSent(origin); got != want || host != wantHost {
			t.Fatalf("%q: %q %q, want %q %q", origin, got, host, want, wantHost)
		}
	})
}

func TestOriginsThatAreRefused(t *testing.T) {
	t.Parallel()
	if _, err := parseOrigins([]string{"(", "*"}); err == nil {
		t.Error("accepted")
	}
}
