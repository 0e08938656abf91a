package status

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/table"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/schema"
)

// Upstreams shows the upstreams of the current table, their targets and how those are, in Kong's shapes. Nothing can
// be changed here: targets are the control plane's, their health is found out.
type Upstreams struct {
	tables   *table.Holder
	entities *schema.Schema
	nodeID   string
}

// NewUpstreams makes an Upstreams.
func NewUpstreams(tables *table.Holder, entities *schema.Schema, nodeID string) *Upstreams {
	return &Upstreams{tables, entities, nodeID}
}

// patience is how long a look at an upstream waits for names that nothing is known of.
const patience = 2 * time.Second

// mount serves, unless u is nil, GET /upstreams/{name or id}/health, /targets and /targets/all.
func (u *Upstreams) mount(mux *http.ServeMux) {
	if u == nil {
		return
	}
	for path, show := range map[string]func(http.ResponseWriter, *http.Request, *table.Upstream){
		"/upstreams/{upstream}/health": u.showHealth, "/upstreams/{upstream}/targets": u.showTargets, "/upstreams/{upstream}/targets/all": u.showTargets,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				w.Header().Set("Allow", "GET, HEAD")
				write(w, http.StatusMethodNotAllowed, map[string]any{"message": "Method not allowed"})
				return
			}
			if found := u.find(r.PathValue("upstream")); found != nil {
				show(w, r, found)
				return
			}
			write(w, http.StatusNotFound, map[string]any{"message": "Not found"})
		})
	}
}

func (u *Upstreams) find(name string) *table.Upstream {
	all := u.tables.Current().Upstreams
	i := slices.IndexFunc(all, func(one *table.Upstream) bool { return one.Spec().ID == name || one.Spec().Name == name })
	if i < 0 {
		return nil
	}
	return all[i]
}

func (u *Upstreams) showTargets(w http.ResponseWriter, _ *http.Request, one *table.Upstream) {
	data := []json.RawMessage{}
	for _, i := range newestFirst(one.Targets) {
		data = append(data, u.entities.Encode(u.entities.EntityOf(one.Targets[i]), one.Targets[i]))
	}
	write(w, http.StatusOK, map[string]any{"data": data, "next": nil})
}

func (u *Upstreams) showHealth(w http.ResponseWriter, r *http.Request, one *table.Upstream) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	health := one.Health(ctx)
	if r.URL.Query().Get("balancer_health") == "1" {
		u.showBalancer(w, one, &health)
		return
	}
	data := []any{}
	for _, i := range newestFirst(one.Targets) {
		t := &health.Targets[i]
		var shown map[string]any
		if err := json.Unmarshal(u.entities.Encode(u.entities.EntityOf(one.Targets[i]), one.Targets[i]), &shown); err != nil {
			continue
		}
		shown["health"], shown["data"] = t.State, detail(t)
		data = append(data, shown)
	}
	write(w, http.StatusOK, map[string]any{"data": data, "next": nil, "node_id": u.nodeID})
}

func (u *Upstreams) showBalancer(w http.ResponseWriter, one *table.Upstream, health *balancer.Health) {
	usable, state := balancer.Unhealthy, balancer.Unchecked
	if health.Usable {
		usable = balancer.Healthy
	}
	if health.Checked {
		state = usable
	}
	hosts := []any{}
	for i := range health.Targets {
		hosts = append(hosts, detail(&health.Targets[i]))
	}
	write(w, http.StatusOK, map[string]any{
		"data": map[string]any{
			"id": one.Spec().ID, "health": state, "balancer_health": usable,
			"details": map[string]any{"healthy": health.Usable, "weight": weights(health.Total, health.Available), "hosts": hosts},
		},
		"next": nil, "node_id": u.nodeID,
	})
}

// detail is what is known of a target.
func detail(t *balancer.TargetHealth) map[string]any {
	addresses := []any{}
	for _, a := range t.Addresses {
		addresses = append(addresses, map[string]any{"ip": a.Addr.Addr().String(), "port": a.Addr.Port(), "weight": a.Weight, "health": a.State})
	}
	record := t.Record
	if record == "" {
		record = "unknown"
		if len(t.Addresses) > 0 {
			record = "A"
		}
	}
	return map[string]any{
		"host": t.Target.Host, "port": t.Target.Port, "dns": record, "nodeWeight": t.Target.Weight,
		"weight": weights(t.Total, t.Available), "addresses": addresses,
	}
}

func weights(total, available int) map[string]int {
	return map[string]int{"total": total, "available": available, "unavailable": total - available}
}

// newestFirst orders targets as Kong lists them.
func newestFirst(targets []*configv1.Target) []int {
	order := make([]int, len(targets))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(targets[b].GetCreatedAt(), targets[a].GetCreatedAt()) })
	return order
}
