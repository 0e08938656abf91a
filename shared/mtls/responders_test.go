package mtls_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
	"github.com/keepgate/keepgate/shared/revocation"
)

// answers are what a responder is made to say of everybody.
type answers struct {
	mu      sync.Mutex
	revoked bool  // guarded by mu
	err     error // guarded by mu
	waited  int   // guarded by mu
}

func (a *answers) Ask(_ context.Context, _, _ *x509.Certificate, wait bool) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if wait {
		a.waited++
	}
	return a.revoked, a.err
}

func (a *answers) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func (a *answers) say(revoked bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked, a.err = revoked, err
}

func TestWhatRespondersSay(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	edge := ca.Edge(t, "edge")
	files := ca.Files(t, ca.Issue(t, controlPlane()))
	node := shown(ca.Issue(t, mtlstest.Leaf{}).Cert)
	joined := shown(edge.Issue(t, mtlstest.Leaf{}).Cert, edge.Cert)
	silent := errors.New("nobody answers")
	tests := map[string]struct {
		revoked         bool
		err             error
		on, optional    verdict.Reason // "" is accepted
		edgeOn, edgeMay verdict.Reason // of one that joined: the registry knows, and nobody is asked
	}{
		"good":    {},
		"revoked": {revoked: true, err: errors.New("on Monday"), on: verdict.Revoked, optional: verdict.Revoked},
		"nothing": {err: silent, on: verdict.RevocationUnknown},
	}
	for name, test := range tests {
		for _, optional := range []bool{false, true} {
			said := &answers{revoked: test.revoked, err: test.err}
			server := openAs(t, files, mtls.Options{Role: identity.ControlPlane, Responders: said, Optional: optional})
			want, wantEdge := test.on, test.edgeOn
			if optional {
				want, wantEdge = test.optional, test.edgeMay
			}
			for who, of := range map[string]struct {
				err  error
				want verdict.Reason
			}{"a node": {server.Check(node, identity.DataPlane), want}, "one that joined": {server.Check(joined, identity.DataPlane), wantEdge}} {
				if refusal := verdict.Explain(of.err); (refusal == nil) != (of.want == "") || refusal != nil && refusal.Reason != of.want {
					t.Errorf("%s, optional %v, %s: %v, want %q", name, optional, who, of.err, of.want)
				}
			}
			if said.waited != 0 {
				t.Error("looking again waits for an answer")
			}
		}
	}
}

func TestRespondersEndStreams(t *testing.T) {
	t.Parallel()
	for name, optional := range map[string]bool{"on": false, "optional": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ca := mtlstest.NewCA(t, "cluster")
				said := &answers{}
				server := openAs(t, ca.Files(t, ca.Issue(t, controlPlane())), mtls.Options{Role: identity.ControlPlane, Responders: said, Optional: optional})
				ended := make(chan error, 1)
				go func() {
					ended <- server.Watch(t.Context(), shown(ca.Issue(t, mtlstest.Leaf{}).Cert), identity.DataPlane)
				}()
				time.Sleep(10 * time.Minute)
				if optional {
					said.say(false, errors.New("nobody answers"))
					time.Sleep(10 * time.Minute)
				}
				synctest.Wait()
				select {
				case err := <-ended:
					t.Fatalf("it ended: %v", err)
				default:
				}
				began, want := time.Now(), verdict.Revoked
				said.say(true, errors.New("on Monday"))
				if !optional {
					want = verdict.RevocationUnknown
					said.say(false, errors.New("nobody answers"))
				}
				wantReason(t, <-ended, want)
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// responder is a real one over HTTP, for a CA.
type responder struct {
	ca      *mtlstest.CA
	revoked sync.Map // serial numbers in decimal
	dead    atomic.Bool
	asked   atomic.Int64
	expires time.Duration // of an answer
}

func (r *responder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.asked.Add(1)
	body, _ := io.ReadAll(request.Body)
	asked, err := ocsp.ParseRequest(body)
	if err != nil || r.dead.Load() {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	template := ocsp.Response{Status: ocsp.Good, SerialNumber: asked.SerialNumber, ThisUpdate: time.Now(), NextUpdate: time.Now().Add(r.expires)}
	if _, revoked := r.revoked.Load(asked.SerialNumber.String()); revoked {
		template.Status, template.RevokedAt = ocsp.Revoked, time.Now()
	}
	response, err := ocsp.CreateResponse(r.ca.Cert, r.ca.Cert, template, r.ca.Key())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(response)
}

// asking opens a control plane that asks a real responder, and runs it.
func asking(t *testing.T, ca *mtlstest.CA, optional bool, log io.Writer) *mtls.Source {
	t.Helper()
	source := openAs(t, ca.Files(t, ca.Issue(t, controlPlane())), mtls.Options{
		Role: identity.ControlPlane, Optional: optional, Log: slog.New(slog.NewTextHandler(log, nil)),
		Responders: revocation.NewResponders(revocation.Settings{Timeout: 5 * time.Second, Refresh: 300 * time.Millisecond}, revocation.Options{}),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = source.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return source
}

// whole is a buffer that may be written to from anywhere.
type whole struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *whole) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(data)
}

func (l *whole) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestARealResponder(t *testing.T) {
	t.Parallel()
	for name, optional := range map[string]bool{"on": false, "optional": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := mtlstest.NewCA(t, "cluster")
			r := &responder{ca: ca, expires: time.Hour}
			at := httptest.NewServer(r)
			t.Cleanup(at.Close)
			var log whole
			server := asking(t, ca, optional, &log)
			link := func(leaf mtlstest.Leaf) (mtlstest.Pair, outcome) {
				node, _, pair := ca.Source(t, leaf)
				return pair, connect(t, server.Server(identity.DataPlane), node.Client("cp.example", identity.ControlPlane))
			}
			pair, good := link(mtlstest.Leaf{OCSP: []string{at.URL}})
			if good.server != nil || r.asked.Load() == 0 {
				t.Fatalf("server %v, asked %d times", good.server, r.asked.Load())
			}
			// A stream that stands is cut once the responder says so.
			ended := make(chan error, 1)
			go func() { ended <- server.Watch(t.Context(), good.serverState, identity.DataPlane) }()
			r.revoked.Store(pair.Cert.SerialNumber.String(), true)
			select {
			case err := <-ended:
				wantReason(t, err, verdict.Revoked)
			case <-time.After(30 * time.Second):
				t.Fatal("a revoked data plane stays linked")
			}
			// Nobody answers, or nobody is named.
			r.dead.Store(true)
			_, unanswered := link(mtlstest.Leaf{OCSP: []string{at.URL}})
			_, unnamed := link(mtlstest.Leaf{})
			if optional {
				if unanswered.server != nil || unnamed.server != nil || !strings.Contains(log.String(), "is let in, as cluster_ocsp = optional says") {
					t.Errorf("unanswered %v, unnamed %v, log %s", unanswered.server, unnamed.server, &log)
				}
				return
			}
			wantReason(t, unanswered.server, verdict.RevocationUnknown)
			wantReason(t, unnamed.server, verdict.RevocationUnknown)
		})
	}
}

// A revoked one gets in at no time: not on the first link either, when nothing is known yet, nor when the responder
// falls silent afterwards.
func TestARevokedOneIsNeverLetIn(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	r := &responder{ca: ca, expires: time.Second}
	at := httptest.NewServer(r)
	t.Cleanup(at.Close)
	server := asking(t, ca, true, io.Discard)
	node, _, pair := ca.Source(t, mtlstest.Leaf{OCSP: []string{at.URL}})
	r.revoked.Store(pair.Cert.SerialNumber.String(), true)
	for range 2 {
		wantReason(t, connect(t, server.Server(identity.DataPlane), node.Client("cp.example", identity.ControlPlane)).server, verdict.Revoked)
		r.dead.Store(true)
	}
}

// With cluster_ocsp = on a stream ends when what was known has run out and nobody says more.
func TestSilenceEndsStreams(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	r := &responder{ca: ca, expires: 3 * time.Second}
	at := httptest.NewServer(r)
	t.Cleanup(at.Close)
	server := asking(t, ca, false, io.Discard)
	node, _, _ := ca.Source(t, mtlstest.Leaf{OCSP: []string{at.URL}})
	o := connect(t, server.Server(identity.DataPlane), node.Client("cp.example", identity.ControlPlane))
	if o.server != nil {
		t.Fatal(o.server)
	}
	r.dead.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	wantReason(t, server.Watch(ctx, o.serverState, identity.DataPlane), verdict.RevocationUnknown)
}
