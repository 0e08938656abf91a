// Package statusport shows how a plugin is: GET /livez, /healthz, /status, /status/ready and /metrics.
//
// The port is for operators and needs no credentials. It shows key ids, which are public, and no secret.
package statusport

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/kek"
	"github.com/keepgate/keepgate/shared/memguard"
	"github.com/keepgate/keepgate/shared/mtls"
)

// Plugin is what is shown.
type Plugin interface {
	Report() kek.Report
	// Node is the node of the control plane that answered last; "" before any did.
	Node() string
	// Certificates says who the plugin is, and what should be mended about that.
	Certificates() mtls.Status
}

// Facts do not change while the plugin runs.
type Facts struct {
	Version string
	Socket  string // as kms_listen says it
	V1      bool
}

// Handler serves the endpoints.
func Handler(p Plugin, facts Facts, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if trouble := p.Report().Trouble; trouble != "" {
			http.Error(w, trouble, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /status/ready", func(w http.ResponseWriter, _ *http.Request) {
		if v := p.Report().Verdict; v.Trouble != "" {
			write(w, http.StatusServiceUnavailable, map[string]any{"message": v.Trouble})
			return
		}
		write(w, http.StatusOK, map[string]any{"message": "ready"})
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, show(p, facts, time.Now()))
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusNotFound, map[string]any{"message": "Not found"})
	})
	return mux
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(body) // the client may have gone
}

type status struct {
	Version      string          `json:"version"`
	KEK          shownKEK        `json:"kek"`
	ControlPlane shownNode       `json:"control_plane"`
	Socket       string          `json:"socket"`
	APIVersions  []string        `json:"api_versions"`
	Certificate  shownCert       `json:"certificate"`
	Warnings     []string        `json:"warnings"`
	Memory       memguard.Status `json:"memory_protection"`
}

type shownKEK struct {
	Name        string     `json:"name"`
	State       string     `json:"state"` // ok, degraded or lost
	Reason      string     `json:"reason,omitempty"`
	Current     string     `json:"current,omitempty"`
	AgeSeconds  int64      `json:"age_seconds"`
	RotateEvery int64      `json:"rotate_every"`
	Keys        []shownKey `json:"keys"`
}

type shownKey struct {
	KeyID      string     `json:"key_id"`
	Generation uint64     `json:"generation"`
	CreatedAt  time.Time  `json:"created_at"`
	InUse      bool       `json:"in_use"`
	LastUsed   *time.Time `json:"last_used_at,omitempty"`
	LastTried  *time.Time `json:"last_canary_at,omitempty"`
	LastWorked *time.Time `json:"last_worked_at,omitempty"`
	Failure    string     `json:"failure,omitempty"`
}

type shownNode struct {
	Node    string     `json:"node,omitempty"`
	HeardAt *time.Time `json:"heard_at,omitempty"`
}

type shownCert struct {
	Identity string    `json:"identity"`
	Serial   string    `json:"serial"`
	NotAfter time.Time `json:"not_after"`
}

func show(p Plugin, facts Facts, now time.Time) status {
	r, certs := p.Report(), p.Certificates()
	s := status{
		Version: facts.Version, Socket: facts.Socket, APIVersions: []string{"v2"}, Memory: memguard.Look(), Warnings: []string{},
		ControlPlane: shownNode{p.Node(), stamp(r.HeardAt)},
		Certificate:  shownCert{certs.Identity.String(), certs.Identity.Serial, certs.Identity.NotAfter.UTC()},
		KEK:          shownKEK{Name: r.Name, State: state(r.Verdict), Reason: r.Trouble, Current: r.Current.ID, RotateEvery: int64(r.RotateEvery / time.Second), Keys: []shownKey{}},
	}
	if facts.V1 {
		s.APIVersions = append(s.APIVersions, "v1beta1")
	}
	if r.Current.ID != "" {
		s.KEK.AgeSeconds = int64(now.Sub(r.Current.CreatedAt) / time.Second)
	}
	for _, k := range r.Keys {
		s.KEK.Keys = append(s.KEK.Keys, shownKey{
			k.ID, k.Generation, k.CreatedAt.UTC(), k.IsUsed, stamp(k.UsedAt), stamp(k.TriedAt), stamp(k.WorksAt), k.Failure,
		})
	}
	if r.IsOld {
		s.Warnings = append(s.Warnings, fmt.Sprintf("the current key is %d days old: rotate it (keepgate-cp kek rotate %s)", s.KEK.AgeSeconds/86400, r.Name))
	}
	s.Warnings = append(s.Warnings, certs.Notices...)
	if certs.Problem != "" {
		s.Warnings = append(s.Warnings, "the certificates on disk are not in use: "+certs.Problem)
	}
	return s
}

func state(v kek.Verdict) string {
	switch {
	case v.IsLost:
		return "lost"
	case v.Trouble != "":
		return "degraded"
	}
	return "ok"
}

func stamp(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC()
	return &at
}
