//go:build kubernetes

package kubernetes_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	harness.Discard()
	os.Exit(code)
}

// tools is where `make e2e-kubernetes` puts what it builds.
func tool(t *testing.T, name string) string {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "bin", "kubernetes", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run make e2e-kubernetes, which builds it", err)
	}
	return path
}

// etcd is a database server of one test.
type etcd struct{ address string }

func startEtcd(t *testing.T, c *harness.Cluster) *etcd {
	t.Helper()
	program, err := exec.LookPath("etcd")
	if err != nil {
		t.Fatalf("%v: run make deps", err)
	}
	e := &etcd{address: "http://" + harness.FreeAddress(t)}
	peer := "http://" + harness.FreeAddress(t)
	c.Program("etcd", program, "--data-dir", filepath.Join(c.Folder, "etcd"), "--listen-client-urls", e.address, "--advertise-client-urls", e.address,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer, "--unsafe-no-fsync").Launch()
	harness.Eventually(t, "etcd", func() string {
		answer, err := harness.Get(e.address + "/health")
		if err != nil || answer.Status != 200 {
			return fmt.Sprint(answer.Body, err)
		}
		return ""
	})
	return e
}

// values returns all that etcd holds below the objects' prefix, by key.
func (e *etcd) values(t *testing.T) map[string]string {
	t.Helper()
	text := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	body := fmt.Sprintf(`{"key":%q,"range_end":%q}`, text(prefix), text(prefix[:len(prefix)-1]+"0"))
	answer, err := harness.Do(http.MethodPost, e.address+"/v3/kv/range", body)
	if err != nil || answer.Status != 200 {
		t.Fatalf("reading etcd: %d %v", answer.Status, err)
	}
	var read struct {
		KVs []struct{ Key, Value []byte }
	}
	if err := json.Unmarshal([]byte(answer.Body), &read); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, kv := range read.KVs {
		found[string(kv.Key)] = string(kv.Value)
	}
	return found
}

// prefix is where the sample API server keeps flunders, which stand for secrets here.
const prefix = "/registry/wardle.example.com/wardle.example.com/flunders/"

// apiServer is a Kubernetes API server, or one of several over one etcd.
type apiServer struct {
	*harness.Process
	t       *testing.T
	url     string
	client  *http.Client
	config  string // the encryption configuration
	kubecfg string // for kubectl
}

// newAPIServer makes an API server with an encryption configuration and starts nothing.
func newAPIServer(t *testing.T, c *harness.Cluster, e *etcd, name, configuration string, flags ...string) *apiServer {
	t.Helper()
	folder := filepath.Join(c.Folder, name+".files")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	address := harness.FreeAddress(t)
	s := &apiServer{t: t, url: "https://" + address, config: filepath.Join(folder, "encryption.yaml"), kubecfg: filepath.Join(folder, "kubectl.yaml")}
	s.configure(configuration)
	s.identify(folder)
	nowhere := filepath.Join(folder, "kubeconfig.yaml")
	write(t, nowhere, kubeconfig("http://127.0.0.1:9", ""))
	port := address[strings.LastIndex(address, ":")+1:]
	s.Process = c.Program(name, tool(t, "sample-apiserver"), append([]string{
		"--etcd-servers", e.address, "--etcd-prefix", "/registry/wardle.example.com", "--secure-port", port, "--bind-address", "127.0.0.1",
		"--cert-dir", folder, "--client-ca-file", filepath.Join(folder, "clients.crt"),
		"--kubeconfig", nowhere, "--authentication-kubeconfig", nowhere, "--authorization-kubeconfig", nowhere, "--authentication-skip-lookup",
		"--disable-admission-plugins", "NamespaceLifecycle,MutatingAdmissionWebhook,ValidatingAdmissionWebhook,ValidatingAdmissionPolicy,MutatingAdmissionPolicy,BanFlunder",
		"--enable-priority-and-fairness=false", "--encryption-provider-config", s.config,
	}, flags...)...)
	return s
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func kubeconfig(server, user string) string {
	return "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: \"" + server + "\", insecure-skip-tls-verify: " + fmt.Sprint(user != "") + "}}]\n" +
		"users: [{name: u, user: {" + user + "}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n"
}

// identify makes an administrator's certificate: the API server lets the group system:masters do everything.
func (s *apiServer) identify(folder string) {
	s.t.Helper()
	issue := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (der []byte, key *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			s.t.Fatal(err)
		}
		if signer == nil {
			signer = key
		}
		if der, err = x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer); err != nil {
			s.t.Fatal(err)
		}
		return der, key
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, caKey := issue(ca, ca, nil)
	admin := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, key := issue(admin, ca, caKey)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	files := map[string][]byte{
		"clients.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
		"admin.crt":   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"admin.key":   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
	for name, text := range files {
		write(s.t, filepath.Join(folder, name), string(text))
	}
	write(s.t, s.kubecfg, kubeconfig(s.url, fmt.Sprintf("client-certificate: %q, client-key: %q", filepath.Join(folder, "admin.crt"), filepath.Join(folder, "admin.key"))))
	pair := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	// The server's certificate is made by itself at its start; who it is matters to none of these scenarios.
	s.client = &http.Client{Timeout: harness.Patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}, MaxIdleConnsPerHost: 16}}
}

func (s *apiServer) configure(configuration string) {
	s.t.Helper()
	write(s.t, s.config, configuration)
}

// encryption is a configuration of kms providers, given as "v2 NAME ENDPOINT", the first of which writes.
func encryption(providers ...string) string {
	text := "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [flunders.wardle.example.com]\n  providers:\n"
	for _, provider := range providers {
		words := strings.Fields(provider)
		text += fmt.Sprintf("  - kms: {apiVersion: %s, name: %s, endpoint: %q, timeout: 3s}\n", words[0], words[1], words[2])
	}
	return text
}

// shipped is the configuration of deploy/kubernetes, for a plugin's socket and this API server's objects.
func shipped(t *testing.T, endpoint string) string {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "deploy", "kubernetes", "encryption-configuration.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("unix:///run/keepgate/kms.sock", endpoint, "[secrets, configmaps]", "[flunders.wardle.example.com]").Replace(string(text))
}

// serve starts it and returns when it is ready.
func (s *apiServer) serve() {
	s.t.Helper()
	s.Launch()
	s.awaitStatus("/readyz", 200)
}

func (s *apiServer) awaitStatus(path string, status int) {
	s.t.Helper()
	harness.Eventually(s.t, fmt.Sprint(path, " answering ", status), func() string {
		answer, err := s.try(http.MethodGet, path, "")
		if err != nil {
			return err.Error()
		}
		if answer.Status != status {
			return fmt.Sprint(answer.Status, " ", answer.Body)
		}
		return ""
	})
}

func (s *apiServer) try(method, path, body string) (harness.Answer, error) {
	request, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		return harness.Answer{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	return harness.Send(s.client, request)
}

func (s *apiServer) do(status int, method, path, body string) string {
	s.t.Helper()
	answer, err := s.try(method, path, body)
	if err != nil || answer.Status != status {
		s.t.Fatalf("%s %s: %d %s %v, want %d", method, path, answer.Status, answer.Body, err, status)
	}
	return answer.Body
}

const objects = "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders"

// flunder is an object with a secret in it.
func flunder(name, secret string) string {
	return fmt.Sprintf(`{"apiVersion":"wardle.example.com/v1alpha1","kind":"Flunder","metadata":{"name":%q,"annotations":{"secret":%q}},"spec":{"reference":"r"}}`, name, secret)
}

func (s *apiServer) create(name, secret string) {
	s.t.Helper()
	s.do(201, http.MethodPost, objects, flunder(name, secret))
}

// reads says what keeps an object from being read back; "" when nothing does.
func (s *apiServer) reads(name, secret string) string {
	answer, err := s.try(http.MethodGet, objects+"/"+name, "")
	if err != nil {
		return err.Error()
	}
	if answer.Status != 200 || !strings.Contains(answer.Body, secret) {
		return fmt.Sprint(answer.Status, " ", answer.Body)
	}
	return ""
}

func (s *apiServer) mustRead(name, secret string) {
	s.t.Helper()
	if wrong := s.reads(name, secret); wrong != "" {
		s.t.Fatalf("reading %s back: %s", name, wrong)
	}
}

// rewrite is the runbook's line, one object a document: this API server has no kind List, which kubectl makes of many.
const rewrite = `kubectl get flunders --all-namespaces -o jsonpath='{range .items[*]}{@}{"\n---\n"}{end}' | kubectl replace -f -`

// kubectl runs a line of the runbook as it stands there, with this server as the cluster.
func (s *apiServer) kubectl(line string) string {
	s.t.Helper()
	command := exec.Command("bash", "-euo", "pipefail", "-c", line)
	command.Env = append(os.Environ(), "KUBECONFIG="+s.kubecfg, "PATH="+filepath.Dir(tool(s.t, "kubectl"))+":"+os.Getenv("PATH"), "HOME="+s.t.TempDir())
	var out, notes bytes.Buffer
	command.Stdout, command.Stderr = &out, &notes
	if err := command.Run(); err != nil {
		s.t.Fatalf("%s: %v\n%s%s", line, err, tail(out.String()), tail(notes.String()))
	}
	return out.String()
}

func tail(text string) string { return text[max(0, len(text)-2000):] }

var counted = regexp.MustCompile(`^([a-z_]+)\{(.*)\} ([0-9.e+]+)$`)

// metric returns the sum of an API server's series whose labels hold all the texts.
func (s *apiServer) metric(name string, labels ...string) (sum float64) {
	s.t.Helper()
	for line := range strings.Lines(s.do(200, http.MethodGet, "/metrics", "")) {
		parts := counted.FindStringSubmatch(strings.TrimSpace(line))
		if parts == nil || parts[1] != name {
			continue
		}
		fits := true
		for _, label := range labels {
			fits = fits && strings.Contains(parts[2], label)
		}
		var value float64
		if _, err := fmt.Sscan(parts[3], &value); err == nil && fits {
			sum += value
		}
	}
	return sum
}

// installation is a control plane with a KEK, and etcd.
type installation struct {
	*harness.Cluster
	cp   *harness.ControlPlane
	etcd *etcd
}

func install(t *testing.T) *installation {
	t.Helper()
	c := harness.New(t)
	i := &installation{c, c.ControlPlane("cp"), startEtcd(t, c)}
	i.cp.Start()
	i.kek("create", "prod")
	return i
}

// kek runs `keepgate-cp kek`.
func (i *installation) kek(args ...string) string {
	i.T.Helper()
	return i.CP(append(append([]string{"kek"}, args...), "--admin-url", "http://"+i.cp.Listen)...)
}

// current is the id of the KEK's current key.
func (i *installation) current() string {
	i.T.Helper()
	id, _ := i.cp.Admin().Do(200, http.MethodGet, "/kms/keys/prod", nil)["key_id"].(string)
	return id
}

// knows returns when a plugin's current key is the one that is named.
func knows(t *testing.T, k *harness.KMS, id string) {
	t.Helper()
	harness.Eventually(t, k.Name+" knowing the current key", func() string {
		answer, err := harness.Get("http://" + k.Status + "/status")
		if err != nil {
			return err.Error()
		}
		if !strings.Contains(answer.Body, fmt.Sprintf(`"state":"ok","current":%q`, id)) {
			return answer.Body
		}
		return ""
	})
}
