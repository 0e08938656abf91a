package authority

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "make the golden document anew")

const golden = "testdata/document.golden"

// sample is a document with one of everything.
func sample(t testing.TB) document {
	t.Helper()
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	authority := func(name string) (root, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: at, NotAfter: at.AddDate(10, 0, 0), IsCA: true,
			BasicConstraintsValid: true, MaxPathLen: 1, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte(name),
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		r := root{Certificate: der, State: Trusted, AddedAt: at.Unix()}
		list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(7), ThisUpdate: at, NextUpdate: at.AddDate(1, 0, 0)}, template, key)
		if err != nil {
			t.Fatal(err)
		}
		r.List = list
		return r, key
	}
	old, _ := authority("old")
	old.State, old.RetiredAt, old.List = Retired, at.Unix()+3, nil
	now, signer := authority("now")
	now.State, now.Since = Signing, uint64(at.Unix())
	above, err := x509.ParseCertificate(now.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	pending, err := newEdge(at)
	if err != nil {
		t.Fatal(err)
	}
	signing := signed(t, above, signer, at)
	former := signed(t, above, signer, at)
	former.State, former.Key = Former, material{}
	return document{Version: documentVersion, Sequence: uint64(at.Unix()) + 4, Told: uint64(at.Unix()) + 3, Roots: []root{old, now}, Edges: []edge{former, signing, pending}}
}

func signed(t testing.TB, above *x509.Certificate, signer *ecdsa.PrivateKey, at time.Time) edge {
	t.Helper()
	e, err := newEdge(at)
	if err != nil {
		t.Fatal(err)
	}
	key, err := e.signer()
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: e.Name}, NotBefore: at, NotAfter: at.AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true,
		MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		PermittedDNSDomainsCritical: true, PermittedURIDomains: []string{"data-plane"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, above, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	e.State, e.Chain, e.Root, e.SignedAt = Signing, [][]byte{der}, Fingerprint(above), at.Unix()+1
	return e
}

// TestGoldenDocument: what is stored today is read tomorrow, and written as it was.
func TestGoldenDocument(t *testing.T) {
	t.Parallel()
	if *update {
		text, err := sample(t).encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	d, err := parseDocument(string(text))
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.encode()
	if err != nil || again != string(text) {
		t.Errorf("written again it is another text: %v", err)
	}
	if len(d.Roots) != 2 || d.Roots[0].State != Retired || d.Roots[1].State != Signing || d.Roots[1].list.Number.Int64() != 7 || d.edge(Pending) == nil || d.edge(Former) == nil {
		t.Errorf("it says something else: %d authorities", len(d.Roots))
	}
	if _, err := d.edge(Signing).signer(); err != nil {
		t.Error(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		shown := fmt.Sprintf(verb, d.edge(Signing).Key)
		d.edge(Signing).Key.Reveal(func(der []byte) {
			if strings.Contains(shown, string(der)) || strings.Contains(shown, fmt.Sprint(der)) {
				t.Errorf("%s shows the key", verb)
			}
		})
	}
}

func TestParseDocumentRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*document){
		"another version":               func(d *document) { d.Version = 2 },
		"no sequence":                   func(d *document) { d.Sequence = 0 },
		"nothing told":                  func(d *document) { d.Told = 0 },
		"told before it was":            func(d *document) { d.Told = d.Sequence + 1 },
		"no authority":                  func(d *document) { d.Roots = nil },
		"no authority that is believed": func(d *document) { d.Roots = d.Roots[:1] },
		"an authority twice":            func(d *document) { d.Roots = append(d.Roots, d.Roots[1]) },
		"a state that is none":          func(d *document) { d.Roots[1].State = "good" },
		"no certificate":                func(d *document) { d.Roots[1].Certificate = []byte{0x30, 0} },
		"an edge authority as one":      func(d *document) { d.Roots[1].Certificate = d.Edges[0].Chain[0] },
		"somebody's list":               func(d *document) { d.Roots[0].State, d.Roots[0].List = Trusted, d.Roots[1].List },
		"two that sign":                 func(d *document) { e := d.Edges[1]; e.Name = "edge-2"; d.Edges = append(d.Edges, e) },
		"two that were asked for":       func(d *document) { e := d.Edges[2]; e.Name = "edge-2"; d.Edges = append(d.Edges, e) },
		"one name twice":                func(d *document) { d.Edges = append(d.Edges, d.Edges[0]) },
		"a former one with its key":     func(d *document) { d.Edges[0].Key = d.Edges[1].Key },
		"one that signs without":        func(d *document) { d.Edges[1].Key = material{} },
		"an edge that is none":          func(d *document) { d.Edges[1].Chain = [][]byte{d.Roots[1].Certificate} },
		"an edge without a chain":       func(d *document) { d.Edges[1].Chain = nil },
		"an edge without a name":        func(d *document) { d.Edges[1].Name = "" },
		"too many":                      func(d *document) { d.Edges = make([]edge, maxEdges+1) },
	} {
		d := sample(t)
		change(&d)
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseDocument(string(text)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	good, err := sample(t).encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing": "", "null": "null", "a list": "[]", "more than it": good + "{}", "an unknown field": `{"more":1,` + good[1:],
		"another kind of key": strings.Replace(good, `"key":"`, `"key":["`, 1), "too long": good[:len(good)-1] + strings.Repeat(" ", maxDocument) + "}",
	} {
		if _, err := parseDocument(text); err == nil {
			t.Errorf("%s is taken", name)
		} else if strings.Contains(err.Error(), "MIG") {
			t.Errorf("%s: the error quotes: %v", name, err)
		}
	}
}

// TestSequence: what is decided after a restore passes what was decided before it.
func TestSequence(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ before, now, want uint64 }{
		"the first": {0, 1000, 1000}, "later": {900, 1000, 1000}, "in one second": {1000, 1000, 1001}, "a clock that went back": {2000, 1000, 2001},
	} {
		if got := (document{Sequence: test.before}).next(time.Unix(int64(test.now), 0)); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
	if got := (document{}).next(time.Unix(-5, 0)); got != 1 {
		t.Errorf("before all time: %d", got)
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	d := sample(t)
	if err := d.complete(); err != nil {
		t.Fatal(err)
	}
	d.prune(d.Edges[0].cert.NotAfter.Add(time.Second))
	if len(d.Roots) != 2 || len(d.Edges) != 2 || d.edge(Former) != nil {
		t.Errorf("after the edge authorities ended: %d authorities, %d edge authorities", len(d.Roots), len(d.Edges))
	}
	d.prune(d.Roots[0].cert.NotAfter.Add(time.Second))
	if len(d.Roots) != 1 || d.Roots[0].State != Signing {
		t.Errorf("after all ended: %d authorities", len(d.Roots))
	}
}

func TestTrustIsWholeOrWithoutLists(t *testing.T) {
	t.Parallel()
	d := sample(t)
	d.Roots[0].State = Trusted // without a list
	if err := d.complete(); err != nil {
		t.Fatal(err)
	}
	if trust := d.trust(); len(trust.GetAuthorities()) != 2 || trust.GetRevocationLists() != nil {
		t.Errorf("%d authorities, %d lists", len(trust.GetAuthorities()), len(trust.GetRevocationLists()))
	}
	d.Roots[0].State = Retired
	if trust := d.trust(); len(trust.GetAuthorities()) != 1 || len(trust.GetRevocationLists()) != 1 || !bytes.Equal(trust.GetAuthorities()[0], d.Roots[1].Certificate) {
		t.Errorf("%d authorities, %d lists", len(trust.GetAuthorities()), len(trust.GetRevocationLists()))
	}
}

func FuzzParseDocument(f *testing.F) {
	text, err := os.ReadFile(golden)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add(`{"version":1,"sequence":1,"told":1,"roots":[{"certificate":"MAA=","state":"trusted","added_at":1}],"edges":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDocument(text)
		if err != nil {
			return
		}
		again, err := d.encode()
		if err != nil {
			return // of one that is too long when it is written in full
		}
		other, err := parseDocument(again)
		if err != nil || other.Sequence != d.Sequence || len(other.Roots) != len(d.Roots) || len(other.Edges) != len(d.Edges) {
			t.Errorf("%q becomes %q: %v", text, again, err)
		}
	})
}
