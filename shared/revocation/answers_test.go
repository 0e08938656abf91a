package revocation_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/keepgate/keepgate/shared/pkitest"
	"github.com/keepgate/keepgate/shared/revocation"
)

// world is an authority with a client, and who else a test may need.
type world struct {
	*pkitest.Responder
	t             testing.TB
	client, other pkitest.Pair // of the same authority
	url           string
	stranger      *pkitest.Authority // of the same name
}

const (
	known     = "good"
	taken     = "revoked"
	uncertain = "unknown"
)

func raw(body []byte, status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}
}

// faults are ways in which a server of either sort may fail.
func faults() map[string]func(*world) {
	return map[string]func(*world){
		"an error":    func(w *world) { w.Instead = raw([]byte("no"), http.StatusInternalServerError) },
		"nothing":     func(w *world) { w.Instead = raw(nil, http.StatusOK) },
		"a page":      func(w *world) { w.Instead = raw([]byte("<html>maintenance</html>"), http.StatusOK) },
		"too much":    func(w *world) { w.Instead = raw(make([]byte, 17<<20), http.StatusOK) },
		"a redirect":  func(w *world) { w.Instead = http.RedirectHandler("/elsewhere", http.StatusFound).ServeHTTP },
		"hanging up":  func(w *world) { w.Instead = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) } },
		"out of date": func(w *world) { w.Since, w.Lifetime = -2*time.Hour, time.Hour },
		"of tomorrow": func(w *world) { w.Since = 10 * time.Minute },
		"another's":   func(w *world) { w.Signer = &w.stranger.Pair },
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	point := func(parts ...asn1.RawValue) func(*world) {
		return func(w *world) {
			w.EditList = func(list *x509.RevocationList) {
				value, err := asn1.Marshal(parts)
				if err != nil {
					w.t.Error(err)
				}
				list.ExtraExtensions = append(list.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: value})
			}
		}
	}
	flag := func(tag int) asn1.RawValue {
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte{0xFF}}
	}
	named := func(uri string) asn1.RawValue {
		name := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(uri)}
		for range 2 {
			der, _ := asn1.Marshal(name)
			name = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: der}
		}
		return name
	}
	extension := func(critical bool, id ...int) func(*world) {
		return func(w *world) {
			w.EditList = func(list *x509.RevocationList) {
				list.ExtraExtensions = append(list.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: []byte{5, 0}})
			}
		}
	}
	type test struct {
		change func(*world)
		want   string
	}
	tests := map[string]test{
		"of nobody":            {func(*world) {}, known},
		"of another":           {func(w *world) { w.Revoked[w.other.Cert.SerialNumber.String()] = true }, known},
		"of the client":        {func(w *world) { w.Revoked[w.client.Cert.SerialNumber.String()] = true }, taken},
		"for its own point":    {func(w *world) { point(named(w.url + "/crl"))(w) }, known},
		"for another point":    {point(named("http://example.com/other")), uncertain},
		"for users":            {point(flag(1)), known},
		"for authorities":      {point(flag(2)), uncertain},
		"of some reasons":      {point(flag(3)), uncertain},
		"indirect":             {point(flag(4)), uncertain},
		"for attributes":       {point(flag(5)), uncertain},
		"with an unknown part": {point(flag(9)), uncertain},
		"of changes only":      {extension(true, 2, 5, 29, 27), uncertain},
		"with a critical part": {extension(true, 1, 2, 3, 4), uncertain},
		"with a further part":  {extension(false, 1, 2, 3, 4), known},
		"with a critical entry": {func(w *world) {
			w.Revoked[w.other.Cert.SerialNumber.String()] = true
			w.EditList = func(list *x509.RevocationList) {
				list.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{5, 0}}}
			}
		}, uncertain},
		"as text": {func(w *world) {
			w.Revoked[w.client.Cert.SerialNumber.String()] = true
			w.Instead = func(to http.ResponseWriter, _ *http.Request) {
				_ = pem.Encode(to, &pem.Block{Type: "X509 CRL", Bytes: w.List()})
			}
		}, taken},
	}
	for name, change := range faults() {
		tests[name] = test{change, uncertain}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(url string) pkitest.Edit { return pkitest.At(url+"/crl", "") })
			test.change(w)
			w.check(test.want)
			if w.Lists.Load() == 0 {
				t.Error("nobody asked for the list")
			}
		})
	}
}

func TestResponses(t *testing.T) {
	t.Parallel()
	charged := func(edits ...pkitest.Edit) func(*world) {
		return func(w *world) {
			signer := w.Authority.Issue("responder", append([]pkitest.Edit{func(c *x509.Certificate) {
				c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
			}}, edits...)...)
			w.Signer, w.Include = &signer, true
		}
	}
	type test struct {
		change func(*world)
		want   string
	}
	tests := map[string]test{
		"good":                 {func(*world) {}, known},
		"revoked":              {func(w *world) { w.Revoked[w.client.Cert.SerialNumber.String()] = true }, taken},
		"not known":            {func(w *world) { w.Unknown[w.client.Cert.SerialNumber.String()] = true }, uncertain},
		"undated":              {func(w *world) { w.Lifetime = 0 }, known},
		"undated and old":      {func(w *world) { w.Lifetime, w.Since = 0, -2*time.Hour }, uncertain},
		"try later":            {func(w *world) { w.Instead = raw(ocsp.TryLaterErrorResponse, http.StatusOK) }, uncertain},
		"of another client":    {func(w *world) { w.EditResponse = func(r *ocsp.Response) { r.SerialNumber = w.other.Cert.SerialNumber } }, uncertain},
		"with its certificate": {func(w *world) { w.Include = true }, known},
		"charged":              {charged(), known},
		"charged, revoked": {func(w *world) {
			charged()(w)
			w.Revoked[w.client.Cert.SerialNumber.String()] = true
		}, taken},
		"charged with other things": {charged(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), uncertain},
		"charged with everything":   {charged(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }), uncertain},
		"charged once": {charged(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		}), uncertain},
		"charged by another": {func(w *world) {
			signer := w.stranger.Issue("responder", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} })
			w.Signer, w.Include = &signer, true
		}, uncertain},
		"signed by the client": {func(w *world) { w.Signer, w.Include = &w.client, true }, uncertain},
		"about another authority's": {func(w *world) {
			other := pkitest.Root(w.t, "other")
			w.Signer = &pkitest.Pair{Cert: w.Authority.Cert, Key: w.Authority.Key}
			w.Authority = other
		}, uncertain},
	}
	for name, change := range faults() {
		tests[name] = test{change, uncertain}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(url string) pkitest.Edit { return pkitest.At("", url+"/ocsp") })
			test.change(w)
			w.check(test.want)
			if w.Responses.Load() == 0 {
				t.Error("nobody asked the responder")
			}
		})
	}
}

func newWorld(t *testing.T, at func(url string) pkitest.Edit) *world {
	t.Helper()
	root := pkitest.Root(t, "ca")
	w := &world{Responder: pkitest.NewResponder(root), t: t, stranger: pkitest.Root(t, "ca")}
	w.url = w.Serve().URL
	w.client, w.other = root.Issue("client", at(w.url)), root.Issue("other", at(w.url))
	return w
}

// check asks in every mode, each time in a room that knows nothing.
func (w *world) check(want string) {
	w.t.Helper()
	root := *w.Authority
	if w.Signer != nil && w.Signer.Cert != nil && w.client.Cert.CheckSignatureFrom(root.Cert) != nil {
		root.Pair = *w.Signer
	}
	verified := chainOf(w.client, &root)
	strict := running(w.t, revocation.Options{}).Chain(verified, settings).Check(w.t.Context(), revocation.Strict, time.Now())
	switch {
	case want == known && strict != nil,
		want == taken && !errors.Is(strict, revocation.ErrRevoked),
		want == uncertain && (strict == nil || errors.Is(strict, revocation.ErrRevoked) || !strings.Contains(strict.Error(), "is not known")):
		w.t.Errorf("Strict: %v, want %s", strict, want)
	}
	room := running(w.t, revocation.Options{})
	chain := room.Chain(verified, settings)
	if err := chain.Check(w.t.Context(), revocation.IgnoreErrors, time.Now()); err != nil {
		w.t.Errorf("IgnoreErrors, at first sight: %v", err)
	}
	learned(w.t, room)
	if err := chain.Check(w.t.Context(), revocation.IgnoreErrors, time.Now()); want == taken != errors.Is(err, revocation.ErrRevoked) || want != taken && err != nil {
		w.t.Errorf("IgnoreErrors: %v, want %s", err, want)
	}
	idle := revocation.New(revocation.Options{})
	if err := idle.Chain(verified, settings).Check(w.t.Context(), revocation.Skip, time.Now()); err != nil {
		w.t.Errorf("Skip: %v", err)
	}
}
