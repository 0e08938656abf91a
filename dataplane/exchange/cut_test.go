package exchange

import (
	"errors"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// However a normalised path is cut, what is left is normalised or known to hide dots.
func TestCutPathsStayNormal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		raw := "/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"/", ".", "..", ";", "a", "%2F", "%2e", "%3b", "%5C", `\`, "%25", "é", "%00"}), 0, 12).Draw(t, "raw"), "")
		normal, err := Normalise(nil, raw)
		if err != nil {
			return
		}
		rest := string(normal[rapid.IntRange(1, len(normal)).Draw(t, "cut"):])
		if HidesDots(rest) {
			return
		}
		joined := "/" + strings.TrimPrefix(rest, "/")
		again, err := Normalise(nil, string(AppendEscaped(nil, joined)))
		if err != nil || string(again) != joined {
			t.Fatalf("%q cut to %q is %q as another server reads it, %v", normal, rest, again, err)
		}
	})
}

func TestHidesDots(t *testing.T) {
	t.Parallel()
	for rest, want := range map[string]bool{
		"": false, "/": false, "/x": false, "x": false, "...": false, ".x": false, "..x/y": false, "x..": false,
		".": true, "..": true, "./x": true, "../x": true, "..;a/x": true, "..%2Fx": true, `..\x`: true, "..%3Bx": true, "a%2F..": true, ".%2F": true,
	} {
		if got := HidesDots(rest); got != want {
			t.Errorf("HidesDots(%q) = %v", rest, got)
		}
	}
}

// countedTunnel is a tunnel that counts how often it is closed.
type countedTunnel struct{ closed int }

func (*countedTunnel) Run(io.ReadWriteCloser, []byte) error { return errors.New("not to be run") }
func (c *countedTunnel) Close() error                       { c.closed++; return nil }

// A tunnel that is not run is closed, or its connection would stay open for good.
func TestUnusedTunnelsAreClosed(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*Exchange){
		"answered otherwise": func(ex *Exchange) { ex.Answer(403, "", nil) },
		"given back":         (*Exchange).Reset,
	} {
		tunnel := &countedTunnel{}
		ex := &Exchange{}
		ex.Response.Status, ex.Response.Origin, ex.Response.Tunnel = 101, Upstream, tunnel
		end(ex)
		if tunnel.closed != 1 || ex.Response.Tunnel != nil {
			t.Errorf("%s: closed %d times", name, tunnel.closed)
		}
	}
}
