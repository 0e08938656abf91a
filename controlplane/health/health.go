// Package health shows how a control plane node is: GET /status, /status/ready, /status/join, /metrics and, by Kubernetes' names,
// /healthz, /readyz and /livez, on a port of its own.
//
// The port is for operators and load balancers and needs no credentials, so it shows no secret and nothing of what
// is configured.
package health

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/keepgate/keepgate/shared/memguard"
)

// patience is how long the database may take to answer a question about its health.
const patience = 2 * time.Second

// Node is what is asked.
type Node interface {
	// ID is the node's own.
	ID() string
	// DataPlanes lists those that were seen within the purge delay.
	DataPlanes(ctx context.Context) ([]DataPlane, error)
	// Head reads the newest revision from the database.
	Head(ctx context.Context) (uint64, error)
	// Seen is the newest revision that data planes are offered.
	Seen() uint64
	// Keyring returns "", or why secrets cannot be written.
	Keyring() (why string)
	// Linked counts the data planes that are linked to this node.
	Linked() int
	// Refusals counts by environment how often data planes refused what this node sent them.
	Refusals() map[string]uint64
	// Kept counts the rows that this node cannot open, so that data planes go on with the last form that they have of
	// them, or without; and those of them that wait for a key of the ring, by its id.
	Kept() (rows int, keys map[string]int)
	// License is the state of the license and the date of its end; "" when it has none.
	License() (state, expires string)
}

// DataPlane is one data plane as last seen.
type DataPlane struct {
	ID, Hostname, IP, Version string
	LastSeen                  int64  // Unix seconds
	ConfigHash                string // of what it holds, in hexadecimal
	Refuses                   bool   // it refused the newest configuration, or cannot keep up with it

	Environment        string
	Status             string // as the Admin API shows it
	Link               string // linked, away or revoked
	LagVersions        uint64 // newer ones than it holds
	LagSeconds         int64  // since the first of them
	CertificateExpires int64  // Unix seconds
	Quarantined        int    // entities that it cannot use
}

// Handler serves the endpoints.
func Handler(node Node, version string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", Metrics(node, version))
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		_, err := node.Head(ctx)
		answer(w, http.StatusOK, page(node, err == nil))
	})
	mux.HandleFunc("GET /status/ready", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		if _, err := node.Head(ctx); err != nil {
			answer(w, http.StatusServiceUnavailable, map[string]any{"message": "failed to connect to database"})
			return
		}
		if why := node.Keyring(); why != "" {
			answer(w, http.StatusServiceUnavailable, map[string]any{"message": why})
			return
		}
		answer(w, http.StatusOK, map[string]any{"message": "ready"})
	})
	mux.HandleFunc("GET /status/join", joining(node))
	checks(mux, node)
	return mux
}

// page is what GET /status shows. Of the license it shows how it stands, and of keys their names.
func page(node Node, reachable bool) map[string]any {
	state, expires := node.License()
	license := map[string]any{"state": state}
	if expires != "" {
		license["license_expiration_date"] = expires
	}
	rows, keys := node.Kept()
	publishing := map[string]any{"revision": node.Seen(), "rows_kept": rows}
	if len(keys) > 0 {
		publishing["missing_keys"] = keys
	}
	body := map[string]any{
		"database": map[string]any{"reachable": reachable}, "license": license, "memory_protection": memguard.Look(),
		"publishing": publishing, "secrets": map[string]any{"writable": true},
	}
	if why := node.Keyring(); why != "" {
		body["secrets"] = map[string]any{"writable": false, "reason": why}
	}
	return body
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		return // the client left; there is nobody to tell
	}
}
