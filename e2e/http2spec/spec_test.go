//go:build h2spec

package http2spec_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	harness.Discard()
	os.Exit(code)
}

// cases is how many the version of h2spec in .tools/h2spec.mod has: a run of fewer proves less than it seems to.
const cases = 146

// exceptions are the cases that fail on both listeners, each with its reason. One that passes is a fault as well.
func exceptions() map[string]string {
	const gone = "priorities are deprecated and ignored (RFC 9113 §5.3.2, §6.3): the rule on streams that depend on themselves (RFC 7540 §5.3.1) is no more"
	return map[string]string{
		"http2/5.3.1 Sends HEADERS frame that depend on itself":  gone,
		"http2/5.3.1 Sends PRIORITY frame that depend on itself": gone,
	}
}

// inClear are exceptions in clear alone.
func inClear() map[string]string {
	return map[string]string{
		"http2/3.5 Sends invalid connection preface": "the socket speaks HTTP/1.1 too: what is no preface is a bad request of that, answered 400 in its words before the connection ends, " +
			"where h2spec wants no words",
	}
}

// The gate does what RFC 9113 and RFC 7541 ask for, as far as h2spec knows how to ask.
func TestConformance(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	upstream := harness.NewUpstream(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge", cp, "--proxy-http2-engine", "native")
	dp.SetFlag("--proxy-listen", dp.Proxy+" http2, "+dp.TLS+" http2 ssl")
	dp.Start()
	cp.Admin().Push(fmt.Sprintf(`_format_version: "3.0"
services:
- name: all
  url: %s
  routes: [{name: all, paths: [/]}]
`, upstream.URL))
	dp.Await(200, "/")
	for name, listener := range map[string]struct {
		address string
		flags   []string
		known   map[string]string
	}{
		"TLS":      {dp.TLS, []string{"--tls", "--insecure"}, nil}, // the certificate is the self-signed default
		"in clear": {dp.Proxy, nil, inClear()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			known := exceptions()
			for name, why := range listener.known {
				known[name] = why
			}
			judge(t, run(t, listener.address, listener.flags...), known)
		})
	}
}

// judge fails for every case that is not as it is known to be.
func judge(t *testing.T, results map[string]string, known map[string]string) {
	t.Helper()
	if len(results) != cases {
		t.Errorf("h2spec tried %d cases, not %d", len(results), cases)
	}
	passed := 0
	for name, problem := range results {
		why, listed := known[name]
		switch {
		case problem != "" && !listed:
			t.Errorf("%s:\n%s", name, problem)
		case problem == "" && listed:
			t.Errorf("%s passes: take it from the list of those that do not", name)
		case problem == "":
			passed++
		default:
			t.Logf("known: %s\n%s", name, why)
		}
	}
	for name := range known {
		if _, tried := results[name]; !tried {
			t.Errorf("%s is listed, and h2spec has no such case", name)
		}
	}
	t.Logf("%d of %d cases pass", passed, len(results))
}

// run has h2spec try all cases against an address, and returns what is wrong with each; "" for those that pass.
func run(t *testing.T, address string, flags ...string) map[string]string {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(root, "bin", "h2spec")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v: run make e2e-http2, which builds it", err)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report.xml")
	command := exec.CommandContext(t.Context(), program, append([]string{
		"--strict", "--host", host, "--port", port, "--timeout", patience, "--junit-report", report,
	}, flags...)...)
	output, err := command.CombinedOutput()
	text, missing := os.ReadFile(report)
	if missing != nil { // it exits with 1 for cases that fail too
		t.Fatalf("h2spec: %v\n%s", err, output)
	}
	results, err := read(text)
	if err != nil {
		t.Fatalf("reading h2spec's report: %v\n%s", err, output)
	}
	return results
}

// patience is for how many seconds h2spec waits for an answer: more than a busy machine needs, and a case that fails for silence takes
// no longer.
const patience = "10"
