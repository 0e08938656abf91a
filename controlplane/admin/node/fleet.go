package node

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/fleet"
)

// awayAfter is how long nothing may be heard of a data plane that is linked.
const awayAfter = time.Minute

// dataPlane is Kong's members first, then what else an operator wants to see.
type dataPlane struct {
	ID              string              `json:"id"`
	IP              string              `json:"ip"`
	Hostname        string              `json:"hostname"`
	Version         string              `json:"version"`
	Labels          map[string]string   `json:"labels"` // null when there are none
	ConfigHash      string              `json:"config_hash"`
	SyncStatus      fleet.SyncStatus    `json:"sync_status"`
	LastSeen        int64               `json:"last_seen"`
	UpdatedAt       int64               `json:"updated_at"`
	CertDetails     map[string]int64    `json:"cert_details"`
	RPCCapabilities []string            `json:"rpc_capabilities"`
	TTL             int64               `json:"ttl"`
	Name            string              `json:"name"`
	Environment     string              `json:"environment"`
	Epoch           uint64              `json:"config_epoch"`
	ConfigVersion   uint64              `json:"config_version"`
	Refusal         string              `json:"refusal,omitempty"`
	Quarantined     []fleet.Quarantined `json:"quarantined"`
	Kept            fleet.Kept          `json:"kept"` // what the control plane could not open
	Ready           bool                `json:"ready"`
	Away            bool                `json:"away"` // its link ended, or it was not heard of for longer than awayAfter
}

func (a *API) dataPlanes(r *rest.Request) (rest.Answer, error) {
	list, err := a.list(r)
	if err != nil {
		return rest.Answer{}, err
	}
	size, begin, err := window(r)
	if err != nil {
		return rest.Answer{}, err
	}
	begin = min(begin, len(list))
	end := min(begin+size, len(list))
	data := make([]dataPlane, 0, end-begin)
	for _, s := range list[begin:end] {
		data = append(data, a.shown(s))
	}
	body := map[string]any{"data": data, "next": nil}
	if end < len(list) {
		offset := strconv.Itoa(end)
		body["offset"], body["next"] = offset, r.Prefix+"/clustering/data-planes?offset="+offset
	}
	if epoch, version, hash, ok := a.deps.Newest(); ok {
		body["newest"] = map[string]any{"epoch": epoch, "version": version, "hash": hash}
	}
	return rest.JSON(http.StatusOK, body), nil
}

func (a *API) list(r *rest.Request) ([]fleet.Status, error) {
	list, err := a.deps.Fleet.List(r.Context())
	slices.SortFunc(list, func(x, y fleet.Status) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.NodeID, y.NodeID))
	})
	return list, err
}

func window(r *rest.Request) (size, begin int, err error) {
	query := r.URL.Query()
	size = 100
	if query.Has("size") {
		if size, err = strconv.Atoi(query.Get("size")); err != nil || size < 1 || size > 1000 {
			return 0, 0, rest.Coded(9, "invalid size", "size must be an integer between 1 and 1000")
		}
	}
	if query.Get("offset") != "" {
		if begin, err = strconv.Atoi(query.Get("offset")); err != nil || begin < 0 {
			return 0, 0, rest.Coded(7, "invalid offset", "'%s' is not a valid offset: a number is expected", query.Get("offset"))
		}
	}
	return size, begin, nil
}

func (a *API) shown(s fleet.Status) dataPlane {
	d := dataPlane{
		ID: s.NodeID, IP: s.IP, Hostname: s.Hostname, Version: s.Version, Labels: s.Labels, ConfigHash: s.Held.Hash,
		SyncStatus: s.SyncStatus, LastSeen: s.LastSeen, UpdatedAt: s.UpdatedAt, Name: s.Name, Environment: s.Environment,
		CertDetails: map[string]int64{"expiry_timestamp": s.CertExpiresAt}, Epoch: s.Held.Epoch, ConfigVersion: s.Held.Version,
		Refusal: s.Refusal, Quarantined: s.Quarantined, Kept: s.Kept, Ready: s.Ready,
		Away: s.Left || time.Now().Unix()-s.LastSeen > int64(awayAfter/time.Second),
		TTL:  max(0, s.LastSeen+int64(a.facts.PurgeDelay/time.Second)-time.Now().Unix()),
	}
	if d.Quarantined == nil {
		d.Quarantined = []fleet.Quarantined{}
	}
	return d
}

// clusteringStatus is the older form of the list.
func (a *API) clusteringStatus(r *rest.Request) (rest.Answer, error) {
	list, err := a.list(r)
	if err != nil {
		return rest.Answer{}, err
	}
	body := map[string]any{}
	for _, s := range list {
		body[s.NodeID] = map[string]any{"config_hash": s.Held.Hash, "hostname": s.Hostname, "ip": s.IP, "last_seen": s.LastSeen}
	}
	answer := rest.JSON(http.StatusOK, body)
	answer.Header = http.Header{"Deprecation": {"true"}}
	return answer, nil
}

func (a *API) acceptRestore(r *rest.Request) (rest.Answer, error) {
	if err := r.Demand("accepting a restored database"); err != nil {
		return rest.Answer{}, err
	}
	epoch, err := a.deps.AcceptRestore(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	return rest.JSON(http.StatusOK, map[string]any{
		"epoch": epoch, "message": "data planes will take this database's configuration, also where theirs is newer",
	}), nil
}
