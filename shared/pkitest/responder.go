package pkitest

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Responder says what an authority has revoked: lists below /crl, OCSP below /ocsp. Its fields may be changed under
// [Responder.Change] only.
type Responder struct {
	Authority *Authority
	Revoked   map[string]bool // serial numbers in decimal
	Unknown   map[string]bool // OCSP only

	Since, Lifetime time.Duration // thisUpdate is now + Since, nextUpdate is Lifetime after that; 0: none
	Signer          *Pair         // instead of the authority
	Include         bool          // the signer's certificate in OCSP responses
	EditList        func(*x509.RevocationList)
	EditResponse    func(*ocsp.Response)
	Instead         http.HandlerFunc // answers instead
	Delay           time.Duration    // before it answers

	Lists, Responses atomic.Int64 // asked for

	t      testing.TB
	mu     sync.Mutex
	number int64
}

// NewResponder makes a responder for an authority.
func NewResponder(a *Authority) *Responder {
	return &Responder{Authority: a, Revoked: map[string]bool{}, Unknown: map[string]bool{}, Lifetime: time.Hour, t: a.t}
}

// Change changes how it answers.
func (r *Responder) Change(change func(*Responder)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

// Revoke revokes certificates from now on.
func (r *Responder) Revoke(certificates ...*x509.Certificate) {
	r.Change(func(r *Responder) {
		for _, c := range certificates {
			r.Revoked[c.SerialNumber.String()] = true
		}
	})
}

// Serve serves on loopback until the test ends.
func (r *Responder) Serve() *httptest.Server {
	server := httptest.NewServer(r)
	r.t.Cleanup(server.Close)
	return server
}

// ServeHTTP implements http.Handler.
func (r *Responder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	isOCSP := request.Method == http.MethodPost
	if isOCSP {
		r.Responses.Add(1)
	} else {
		r.Lists.Add(1)
	}
	r.mu.Lock()
	instead, delay := r.Instead, r.Delay
	r.mu.Unlock()
	time.Sleep(delay)
	if instead != nil {
		instead(w, request)
		return
	}
	if isOCSP {
		body, _ := io.ReadAll(request.Body)
		_, _ = w.Write(r.Response(body))
		return
	}
	_, _ = w.Write(r.List())
}

func (r *Responder) signer() (*x509.Certificate, crypto.Signer) {
	if r.Signer != nil {
		return r.Signer.Cert, r.Signer.Key
	}
	return r.Authority.Cert, r.Authority.Key
}

// List makes the list of now.
func (r *Responder) List() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.number++
	list := &x509.RevocationList{Number: big.NewInt(r.number), ThisUpdate: time.Now().Add(r.Since)}
	list.NextUpdate = list.ThisUpdate.Add(r.Lifetime)
	for serial := range r.Revoked {
		number, _ := new(big.Int).SetString(serial, 10)
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: number, RevocationTime: time.Now()})
	}
	if r.EditList != nil {
		r.EditList(list)
	}
	cert, key := r.signer()
	der, err := x509.CreateRevocationList(rand.Reader, list, cert, key)
	if err != nil {
		r.t.Errorf("making a list: %v", err)
	}
	return der
}

// Response answers an OCSP request.
func (r *Responder) Response(request []byte) []byte {
	asked, err := ocsp.ParseRequest(request)
	if err != nil {
		return ocsp.MalformedRequestErrorResponse
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	template := ocsp.Response{Status: ocsp.Good, SerialNumber: asked.SerialNumber, ThisUpdate: time.Now().Add(r.Since)}
	if r.Lifetime != 0 {
		template.NextUpdate = template.ThisUpdate.Add(r.Lifetime)
	}
	switch serial := asked.SerialNumber.String(); {
	case r.Revoked[serial]:
		template.Status, template.RevokedAt = ocsp.Revoked, time.Now()
	case r.Unknown[serial]:
		template.Status = ocsp.Unknown
	}
	cert, key := r.signer()
	if r.Include {
		template.Certificate = cert
	}
	if r.EditResponse != nil {
		r.EditResponse(&template)
	}
	der, err := ocsp.CreateResponse(r.Authority.Cert, cert, template, key)
	if err != nil {
		r.t.Errorf("making a response: %v", err)
	}
	return der
}

// At points certificates at a responder; either may be "".
func At(list, responder string) Edit {
	return func(template *x509.Certificate) {
		if list != "" {
			template.CRLDistributionPoints = append(template.CRLDistributionPoints, list)
		}
		if responder != "" {
			template.OCSPServer = append(template.OCSPServer, responder)
		}
	}
}

// Extension adds an extension.
func Extension(e pkix.Extension) Edit {
	return func(template *x509.Certificate) { template.ExtraExtensions = append(template.ExtraExtensions, e) }
}
