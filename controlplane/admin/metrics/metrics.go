// Package metrics is GET /metrics of the Admin API, where Kong has it too. What it shows is controlplane/health's.
package metrics

import (
	"bytes"
	"net/http"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
)

// API answers with what a handler of metrics writes.
type API struct{ page http.Handler }

// New makes the API.
func New(page http.Handler) *API { return &API{page} }

// Mount adds the path.
func (a *API) Mount(t *rest.Table) {
	t.Handle("GET", "/metrics", func(r *rest.Request) (rest.Answer, error) {
		page := page{header: http.Header{}, status: http.StatusOK}
		plain := r.Clone(r.Context())
		plain.Header.Del("Accept-Encoding") // whoever writes the answer does that
		a.page.ServeHTTP(&page, plain)
		return rest.Answer{Status: page.status, Body: page.body.Bytes(), Header: http.Header{"Content-Type": page.header["Content-Type"]}}, nil
	})
}

// page keeps what is written.
type page struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (p *page) Header() http.Header         { return p.header }
func (p *page) WriteHeader(status int)      { p.status = status }
func (p *page) Write(b []byte) (int, error) { return p.body.Write(b) }
