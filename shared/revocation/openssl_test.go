package revocation

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/keepgate/keepgate/shared/pkitest"
)

const opensslConfig = `[ca]
default_ca = here
[here]
database = %[1]s/index
crlnumber = %[1]s/number
default_md = sha256
default_crl_days = 1
`

// What OpenSSL makes is read: lists in its text form, and responses with its certificates and without.
func TestWhatOpenSSLMakesIsRead(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is missing; install it with: make deps")
	}
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := func(arguments ...string) {
		t.Helper()
		if said, err := exec.CommandContext(t.Context(), openssl, arguments...).CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v\n%s", strings.Join(arguments, " "), err, said)
		}
	}
	read := func(name string) []byte {
		t.Helper()
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	keyOf := func(p *pkitest.Pair) string {
		der, err := x509.MarshalPKCS8PrivateKey(p.Key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	root := pkitest.Root(t, "root")
	at := pkitest.At("http://pki.test/crl", "http://pki.test/ocsp")
	known, taken, never := root.Issue("known", at), root.Issue("taken", at), root.Issue("never", at)
	charged := root.Issue("responder", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} })
	const stamp = "060102150405Z"
	row := func(state, revoked string, p pkitest.Pair) string {
		return fmt.Sprintf("%s\t%s\t%s\t%04X\tunknown\t/CN=x\n", state, p.Cert.NotAfter.UTC().Format(stamp), revoked, p.Cert.SerialNumber)
	}
	write("index", row("V", "", known)+row("R", time.Now().UTC().Add(-time.Minute).Format(stamp), taken))
	write("number", "01\n")
	config, rootFile, rootKey := write("conf", fmt.Sprintf(opensslConfig, dir)), write("root", root.PEM()), write("root.key", keyOf(&root.Pair))
	chargedFile, chargedKey := write("charged", charged.PEM()), write("charged.key", keyOf(&charged))

	run("ca", "-config", config, "-gencrl", "-cert", rootFile, "-keyfile", rootKey, "-out", filepath.Join(dir, "list"))
	now := time.Now()
	for name, test := range map[string]struct {
		pair   pkitest.Pair
		listed state
		said   state
	}{"known": {known, good, good}, "taken": {taken, revoked, revoked}, "never": {never, good, unknown}} {
		list, err := readList(read("list"), test.pair.Cert, root.Cert, time.Minute, now)
		of := serialOf(test.pair.Cert.SerialNumber)
		if got := list.state(&of, now); err != nil || got != test.listed {
			t.Errorf("%s: the list says %v, %v", name, got, err)
		}
		request, err := ocsp.CreateRequest(test.pair.Cert, root.Cert, nil)
		if err != nil {
			t.Fatal(err)
		}
		asked := write(name+".request", string(request))
		for signer, options := range map[string][]string{
			"the authority": {"-rsigner", rootFile, "-rkey", rootKey}, "the authority, alone": {"-rsigner", rootFile, "-rkey", rootKey, "-resp_no_certs"},
			"who is charged": {"-rsigner", chargedFile, "-rkey", chargedKey}, "by key": {"-rsigner", chargedFile, "-rkey", chargedKey, "-resp_key_id"},
			"dated": {"-rsigner", rootFile, "-rkey", rootKey, "-nmin", "5"},
		} {
			run(append([]string{"ocsp", "-index", filepath.Join(dir, "index"), "-CA", rootFile, "-reqin", asked, "-respout", filepath.Join(dir, "response")}, options...)...)
			response, err := readResponse(read("response"), test.pair.Cert, root.Cert, time.Minute, now)
			if got := response.state(&of, now); got != test.said || (err == nil) != (test.said != unknown) {
				t.Errorf("%s, signed by %s: %v, %v", name, signer, got, err)
			}
		}
	}
}
