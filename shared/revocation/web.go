package revocation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	maxAddresses     = 4
	maxAddressBytes  = 2048
	maxListBytes     = 16 << 20
	maxResponseBytes = 64 << 10 // of OCSP
	maxHosts         = 1024
	hostPause        = time.Second // after a host did not answer; doubles
	maxHostPause     = 30 * time.Second
)

// usable returns the first few addresses that are of http or https.
func usable(addresses []string) []string {
	var list []string
	for _, address := range addresses {
		if len(address) > maxAddressBytes || len(list) == maxAddresses {
			continue
		}
		u, err := url.Parse(address)
		if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil {
			list = append(list, address)
		}
	}
	return list
}

// web fetches. A host that does not answer is left alone for a while, so that the dead host of one authority
// does not hold up what is fetched for others.
type web struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu      sync.Mutex
	clients map[[2]string]*http.Client // guarded by mu; by proxies
	hosts   map[hostKey]*host          // guarded by mu
}

// hostKey is a server and the way to it: a proxy that fails says nothing about those who do without.
type hostKey struct{ scheme, host, through string }

type host struct {
	until    time.Time // it is left alone
	failures int
}

func newWeb(dial func(context.Context, string, string) (net.Conn, error)) *web {
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return &web{dial: dial, clients: map[[2]string]*http.Client{}, hosts: map[hostKey]*host{}}
}

// close ends idle connections.
func (w *web) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.clients {
		c.CloseIdleConnections()
	}
}

var errRedirect = errors.New("redirects are not followed")

func (w *web) client(s Settings) *http.Client {
	key := [2]string{s.HTTPProxy, s.HTTPSProxy}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.clients[key]; c != nil {
		return c
	}
	c := &http.Client{
		Transport: &http.Transport{
			DialContext: w.dial, Proxy: proxyOf(s), DisableCompression: true, ForceAttemptHTTP2: false,
			MaxIdleConnsPerHost: 2, MaxIdleConns: workers, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
	}
	w.clients[key] = c
	return c
}

// proxyOf goes by the settings alone: the environment of the process says nothing about an authority's servers.
func proxyOf(s Settings) func(*http.Request) (*url.URL, error) {
	return func(r *http.Request) (*url.URL, error) {
		through := s.through(r.URL.Scheme)
		if through == "" {
			return nil, nil
		}
		return &url.URL{Scheme: "http", Host: through}, nil
	}
}

func (s Settings) through(scheme string) string {
	if scheme == "https" {
		return s.HTTPSProxy
	}
	return s.HTTPProxy
}

// get fetches a body of at most limit bytes; post, when not nil, is sent.
func (w *web) get(ctx context.Context, s Settings, address string, post []byte, limit int64) ([]byte, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if post != nil {
		method, body = http.MethodPost, bytes.NewReader(post)
	}
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, fmt.Errorf("the address cannot be used: %w", err)
	}
	if post != nil {
		request.Header.Set("Content-Type", "application/ocsp-request") // RFC 6960 appendix A.1
		request.Header.Set("Accept", "application/ocsp-response")
	}
	request.Header.Set("User-Agent", "keepgate")
	at := hostKey{request.URL.Scheme, request.URL.Host, s.through(request.URL.Scheme)}
	if err := w.enter(at, s.Timeout); err != nil {
		return nil, err
	}
	response, err := w.client(s).Do(request)
	w.leave(at, err == nil || errors.Is(err, errRedirect))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %d", response.StatusCode)
	}
	if response.ContentLength > limit {
		return nil, errTooLarge
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errTooLarge
	}
	return data, err
}

var (
	errTooLarge = errors.New("the answer is too large")
	errHostDown = errors.New("the server did not answer a moment ago")
)

// enter refuses a host that is left alone. When its time is over one fetch tries; the others wait for what it finds.
func (w *web) enter(name hostKey, trial time.Duration) error {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hosts[name]
	if h == nil {
		return nil
	}
	if now.Before(h.until) {
		return errHostDown
	}
	h.until = now.Add(trial)
	return nil
}

func (w *web) leave(name hostKey, answered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if answered {
		delete(w.hosts, name)
		return
	}
	h := w.hosts[name]
	if h == nil {
		if len(w.hosts) >= maxHosts {
			clear(w.hosts)
		}
		h = &host{}
		w.hosts[name] = h
	}
	h.until = time.Now().Add(min(hostPause<<min(h.failures, 10), maxHostPause))
	h.failures++
}
