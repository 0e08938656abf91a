// Package status shows how a data plane is: GET /status, /status/ready and /metrics, and how the targets of its upstreams are.
//
// The shapes of the first two are Kong's. The port is for operators; it needs no credentials, so it shows no
// secret and nothing of what is configured but a hash, names in metrics, the names of quarantined entities, and targets.
package status

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/keepgate/keepgate/dataplane/enrol"
	"github.com/keepgate/keepgate/shared/memguard"
)

// Node is what a data plane says of itself.
type Node interface {
	// Ready returns "", or why the node should get no traffic.
	Ready() (why string)
	// ConfigurationHash is the hash of the configuration that serves, in hexadecimal; "" without one.
	ConfigurationHash() string
	// Connections counts client connections: accepted since the start, open, and those of them that serve a request.
	Connections() (accepted, open, active int64)
	// Requests counts requests since the start.
	Requests() int64
	// Cluster is how the node stands in its cluster.
	Cluster() enrol.Status
	// Sealing is how the node seals its disk.
	Sealing() Sealing
	// Vaults are the places that references lead to.
	Vaults() []Vault
	// Cache is how much the node keeps of responses, and Kept lists what it keeps by a key, in a form that JSON can show.
	Cache() Cache
	Kept(key string) []any
}

// Handler serves the endpoints. Without upstreams it shows none.
func Handler(node Node, metrics *Metrics, upstreams *Upstreams) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) { showStatus(w, r, node) })
	mux.HandleFunc("GET /status/ready", func(w http.ResponseWriter, _ *http.Request) { showReady(w, node) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics.gatherer(node), promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /proxy-cache/{key}", func(w http.ResponseWriter, r *http.Request) { showKept(w, r, node) })
	upstreams.mount(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusNotFound, map[string]any{"message": "Not found"})
	})
	return mux
}

func showReady(w http.ResponseWriter, node Node) {
	if why := node.Ready(); why != "" {
		write(w, http.StatusServiceUnavailable, map[string]any{"message": why})
		return
	}
	write(w, http.StatusOK, map[string]any{"message": "ready"})
}

func showStatus(w http.ResponseWriter, r *http.Request, node Node) {
	unit := r.URL.Query().Get("unit")
	heap, ok := size(heapBytes(), unit)
	if !ok {
		write(w, http.StatusBadRequest, map[string]any{"message": "invalid unit '" + unit + "' (expected 'k/K', 'm/M', 'g/G', or 'b/B')"})
		return
	}
	accepted, open, active := node.Connections()
	hash := node.ConfigurationHash()
	write(w, http.StatusOK, map[string]any{
		"memory": map[string]any{
			"workers_lua_vms":  []any{map[string]any{"pid": os.Getpid(), "http_allocated_gc": heap}},
			"lua_shared_dicts": map[string]any{},
		},
		"server": map[string]any{
			"connections_accepted": accepted, "connections_handled": accepted, "connections_active": open,
			"connections_reading": 0, "connections_writing": active, "connections_waiting": max(0, open-active),
			"total_requests": node.Requests(),
		},
		"configuration_hash": hash[:min(len(hash), 32)],
		"memory_protection":  memguard.Look(),
		"cluster":            clusterDocument(node.Cluster()),
		"encryption":         sealingDocument(node.Sealing()),
		"vaults":             vaultDocuments(node.Vaults()),
		"cache":              cacheDocument(node.Cache()),
	})
}

func heapBytes() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// size shows bytes in a unit, as Kong does: MiB when none is asked for.
func size(bytes uint64, unit string) (any, bool) {
	switch unit {
	case "b", "B":
		return bytes, true
	case "k", "K":
		return fmt.Sprintf("%.2f KiB", float64(bytes)/(1<<10)), true
	case "", "m", "M":
		return fmt.Sprintf("%.2f MiB", float64(bytes)/(1<<20)), true
	case "g", "G":
		return fmt.Sprintf("%.2f GiB", float64(bytes)/(1<<30)), true
	}
	return nil, false
}

func write(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}
