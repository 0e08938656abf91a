// Package authorities is the part of the Admin API for whom the planes believe, and who certifies data planes. What that means, and what
// is refused, is controlplane/enrol/authority's to say. No key of an authority passes here: what is signed is signed where the key is.
package authorities

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"net/http"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/enrol/authority"
)

// Authorities are whom the planes believe; controlplane/enrol/authority says what each method promises.
type Authorities interface {
	Status(ctx context.Context) (authority.Status, error)
	Trust(ctx context.Context, authorities []*x509.Certificate, lists []*x509.RevocationList) error
	Request(ctx context.Context, by *x509.Certificate, force bool) (authority.Request, error)
	Install(ctx context.Context, chain []*x509.Certificate, force bool) error
	Retire(ctx context.Context, fingerprint string, force bool) error
	End(ctx context.Context) error
}

// API answers for them.
type API struct {
	authorities Authorities
	because     string
}

// New makes the API. authorities is nil where the control plane has none, because of something.
func New(authorities Authorities, because string) *API { return &API{authorities, because} }

const (
	path    = "/clustering/authorities"
	maxBody = 2 << 20
)

// Mount adds all paths. Whoever decides who is believed can make control planes and data planes of his own.
func (a *API) Mount(t *rest.Table) {
	t.Handle("GET", path, a.on(a.show))
	for at, handler := range map[string]rest.Handler{
		"": a.trust, "/request": a.request, "/install": a.install, "/{fingerprint}/retire": a.retire, "/end": a.end,
	} {
		t.Handle("POST", path+at, a.on(rest.Demanding("changing whom the planes believe", handler)))
	}
}

func (a *API) on(handler rest.Handler) rest.Handler {
	if a.authorities != nil {
		return handler
	}
	return func(*rest.Request) (rest.Answer, error) {
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "there are no authorities here: %s", a.because)
	}
}

func (a *API) show(r *rest.Request) (rest.Answer, error) {
	status, err := a.authorities.Status(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	return rest.JSON(http.StatusOK, status), nil
}

func (a *API) trust(r *rest.Request) (rest.Answer, error) {
	given, err := r.Said(maxBody, "certificates", "lists")
	if err != nil {
		return rest.Answer{}, err
	}
	found, err := certificates(given, "certificates")
	if err != nil {
		return rest.Answer{}, err
	}
	lists, err := lists(given, "lists")
	if err != nil {
		return rest.Answer{}, err
	}
	if err := a.authorities.Trust(r.Context(), found, lists); err != nil {
		return rest.Answer{}, err
	}
	return a.show(r)
}

func (a *API) request(r *rest.Request) (rest.Answer, error) {
	given, err := r.Said(maxBody, "certificate", "force")
	if err != nil {
		return rest.Answer{}, err
	}
	by, err := certificates(given, "certificate")
	if err != nil {
		return rest.Answer{}, err
	}
	force, err := given.Flag("force")
	if err != nil {
		return rest.Answer{}, err
	}
	asked, err := a.authorities.Request(r.Context(), by[0], force)
	if err != nil {
		return rest.Answer{}, err
	}
	return rest.JSON(http.StatusOK, map[string]any{"name": asked.Name, "request": string(asked.PEM)}), nil
}

func (a *API) install(r *rest.Request) (rest.Answer, error) {
	given, err := r.Said(maxBody, "certificates", "force")
	if err != nil {
		return rest.Answer{}, err
	}
	chain, err := certificates(given, "certificates")
	if err != nil {
		return rest.Answer{}, err
	}
	force, err := given.Flag("force")
	if err != nil {
		return rest.Answer{}, err
	}
	if err := a.authorities.Install(r.Context(), chain, force); err != nil {
		return rest.Answer{}, err
	}
	return a.show(r)
}

func (a *API) retire(r *rest.Request) (rest.Answer, error) {
	given, err := r.Said(maxBody, "force")
	if err != nil {
		return rest.Answer{}, err
	}
	force, err := given.Flag("force")
	if err != nil {
		return rest.Answer{}, err
	}
	if err := a.authorities.Retire(r.Context(), r.Param(0), force); err != nil {
		return rest.Answer{}, err
	}
	return a.show(r)
}

func (a *API) end(r *rest.Request) (rest.Answer, error) {
	if _, err := r.Said(maxBody); err != nil {
		return rest.Answer{}, err
	}
	if err := a.authorities.End(r.Context()); err != nil {
		return rest.Answer{}, err
	}
	return a.show(r)
}

// certificates reads PEM of certificates, at least one.
func certificates(given rest.Words, name string) (found []*x509.Certificate, err error) {
	err = blocks(given, name, "CERTIFICATE", func(der []byte) error {
		cert, err := x509.ParseCertificate(der)
		found = append(found, cert)
		return err
	})
	if err == nil && len(found) == 0 {
		err = rest.Refuse(http.StatusBadRequest, "%s: required field missing; a certificate in PEM form", name)
	}
	return found, err
}

// lists reads PEM of lists of revoked certificates, if there are any.
func lists(given rest.Words, name string) (found []*x509.RevocationList, err error) {
	err = blocks(given, name, "X509 CRL", func(der []byte) error {
		list, err := x509.ParseRevocationList(der)
		found = append(found, list)
		return err
	})
	return found, err
}

const maxBlocks = 32

func blocks(given rest.Words, name, kind string, parse func(der []byte) error) error {
	left, count := []byte(given[name]), 0
	for {
		block, after := pem.Decode(left)
		if block == nil {
			break
		}
		left = after
		if count++; block.Type != kind || count > maxBlocks {
			return refuse("%s: PEM block %d: expected at most %d of the kind %s", name, count, maxBlocks, kind)
		}
		if parse(block.Bytes) != nil { // whose own text may quote what stands there
			return refuse("%s: PEM block %d cannot be read", name, count)
		}
	}
	if count == 0 && len(given[name]) > 0 {
		return refuse("%s: nothing in PEM form in it", name)
	}
	return nil
}

func refuse(format string, args ...any) error {
	return rest.Refuse(http.StatusBadRequest, format, args...)
}
