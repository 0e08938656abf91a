package joincmd_test

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/cli/joincmd"
	"github.com/keepgate/keepgate/dataplane/enrol"
	"github.com/keepgate/keepgate/dataplane/enrol/enroltest"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/process"
)

// run runs the command as a user would, and returns all that it says.
func run(t *testing.T, stdin string, args ...string) (said string, err error) {
	t.Helper()
	cmd, err := joincmd.Command()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func textOf(token enrolment.Token) (text string) {
	token.Text().Reveal(func(data []byte) { text = string(data) })
	return text
}

func TestJoin(t *testing.T) {
	t.Parallel()
	c := enroltest.New(t)
	address, token := c.Listen(t), textOf(c.Token(t))
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		stdin string
		args  []string
		want  string
	}{
		"a token as an argument": {args: []string{"--control-plane", address, "--token", token}},
		"a token in a file":      {args: []string{"--control-plane", address, "--token-file", file}},
		"a token that is piped":  {stdin: token + "\n", args: []string{"--control-plane", address, "--token-file", "-"}},
		"the settings' nodes":    {args: []string{"--cluster-control-plane", address, "--token", token}},
		"a name that the certificate does not bear": {
			args: []string{"--control-plane", "localhost:" + port, "--token", token},
			want: "warning: the certificate of localhost:" + port + " is for 127.0.0.1, and not for localhost: set cluster_server_name",
		},
		"files that come first": {args: []string{"--control-plane", address, "--token", token, "--cluster-cert", "/x/old.crt"}, want: "unset cluster_cert"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prefix := t.TempDir()
			said, err := run(t, test.stdin, append(test.args, "--prefix", prefix)...)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"keepgate://data-plane/acme/prod/edge-1", "keepgate-dp run --prefix " + prefix + " --cluster-control-plane ", prefix + "/cluster", test.want} {
				if !strings.Contains(said, want) {
					t.Errorf("%q is not said:\n%s", want, said)
				}
			}
			if warned := strings.Contains(said, "warning:"); warned != (test.want != "") {
				t.Errorf("said:\n%s", said)
			}
			if strings.Contains(said, token) || !enrol.At(filepath.Join(prefix, "cluster")).Joined() {
				t.Errorf("said:\n%s", said)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	c, other := enroltest.New(t), enroltest.New(t)
	address, token := c.Listen(t), textOf(c.Token(t))
	open := filepath.Join(t.TempDir(), "open")
	if err := os.WriteFile(open, []byte(token), 0o644); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	host := func(s *httptest.Server) string { _, at, _ := strings.Cut(s.URL, "://"); return at }
	at := func(address string, args ...string) []string {
		return append([]string{"--control-plane", address, "--token", token}, args...)
	}
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no token":                   {[]string{"--control-plane", address}, "keepgate-cp fleet invite"},
		"two tokens":                 {at(address, "--token-file", "-"), "not both"},
		"an empty one":               {[]string{"--control-plane", address, "--token-file", "-"}, "no join token"},
		"half of one":                {[]string{"--control-plane", address, "--token", token[:60]}, "was it copied whole?"},
		"a file that all can read":   {[]string{"--control-plane", address, "--token-file", open}, "token"},
		"a file that is not there":   {[]string{"--control-plane", address, "--token-file", "/not/there"}, "no such file"},
		"no port":                    {at("cp.example"), "is not host:port"},
		"another cluster":            {at(other.Listen(t)), "somebody is in between; the token was not sent"},
		"a web server":               {at(host(web)), "8005 by default"},
		"a secure web server":        {at(host(secure)), "8005 by default"},
		"nobody":                     {at("127.0.0.1:1"), "connection refused; name a node of the control plane by --control-plane"},
		"a proxy that is none":       {at(address, "--proxy", "socks5://p:1"), "http://"},
		"a proxy that is not there":  {at(address, "--proxy", "http://127.0.0.1:1"), "proxy_server 127.0.0.1:1"},
		"a proxy that wants nothing": {at(address, "--proxy", "http://user:pass-canary@"+host(web)), "answers 404"},
		"shared certificates":        {at(address, "--cluster-mtls", "shared"), "nobody joins"},
	} {
		t.Run(name, func(t *testing.T) {
			prefix := t.TempDir()
			said, err := run(t, "", append(test.args, "--prefix", prefix)...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v\n%s\nwant %q", err, said, test.want)
			}
			if text := said + err.Error(); strings.Contains(text, strings.Split(token, ".")[2]) || strings.Contains(text, "pass-canary") {
				t.Errorf("it shows a secret: %s", text)
			}
			if enrol.At(filepath.Join(prefix, "cluster")).Joined() {
				t.Error("it has joined")
			}
		})
	}
}

func TestAgain(t *testing.T) {
	t.Parallel()
	c := enroltest.New(t)
	address, token, prefix := c.Listen(t), textOf(c.Token(t)), t.TempDir()
	join := func(args ...string) (string, error) {
		return run(t, "", append([]string{"--control-plane", address, "--token", token, "--prefix", prefix}, args...)...)
	}
	if _, err := join(); err != nil {
		t.Fatal(err)
	}
	if _, err := join(); err == nil || !strings.Contains(err.Error(), "to replace that: --again") {
		t.Errorf("joining twice = %v", err)
	}
	instance, err := process.Hold(process.Place{Prefix: prefix, Name: "keepgate-dp"})
	if err != nil {
		t.Fatal(err)
	}
	said, err := join("--again")
	if err != nil || !strings.Contains(said, "Restart it, with whatever other settings it has (--conf, flags):\n  keepgate-dp restart --prefix "+prefix) {
		t.Errorf("%s %v", said, err)
	}
	if err := instance.Release(); err != nil {
		t.Fatal(err)
	}
	if said, err := join("--again"); err != nil || !strings.Contains(said, "Start it:\n  keepgate-dp run --prefix") {
		t.Errorf("%s %v", said, err)
	}
	conf := filepath.Join(t.TempDir(), "its settings.conf")
	if err := os.WriteFile(conf, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := join("--again", "--conf", conf); err != nil || !strings.Contains(said, "keepgate-dp run --conf '"+conf+"' --prefix") {
		t.Errorf("%s %v", said, err)
	}
}

// What is to be copied into a shell is one word there, and has the name that the link needs.
func TestTheLineToStartWith(t *testing.T) {
	t.Parallel()
	c := enroltest.New(t)
	_, port, err := net.SplitHostPort(c.Listen(t))
	if err != nil {
		t.Fatal(err)
	}
	prefix := filepath.Join(t.TempDir(), "d 9's")
	said, err := run(t, "", "--control-plane", "localhost:"+port, "--token", textOf(c.Token(t)), "--prefix", prefix)
	want := "--prefix '" + strings.ReplaceAll(prefix, "'", `'\''`) + "' --cluster-control-plane localhost:" + port + " --cluster-server-name 127.0.0.1\n"
	if err != nil || !strings.Contains(said, want) {
		t.Errorf("%v\n%s\nwant %s", err, said, want)
	}
}

func TestHelpTeaches(t *testing.T) {
	t.Parallel()
	said, err := run(t, "", "--help")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"keepgate-cp fleet invite", "--token-file -", "never leaves this machine", "--again", "--proxy"} {
		if !strings.Contains(said, want) {
			t.Errorf("--help lacks %q", want)
		}
	}
}
