package dataplanes

import (
	"context"
	"slices"
	"time"

	"github.com/keepgate/keepgate/controlplane/fleet"
)

// row is Kong's members first, then what else an operator wants to see.
type row struct {
	ID              string            `json:"id"`
	IP              string            `json:"ip"`
	Hostname        string            `json:"hostname"`
	Version         string            `json:"version"`
	Labels          map[string]string `json:"labels"` // null when there are none
	ConfigHash      string            `json:"config_hash"`
	SyncStatus      fleet.SyncStatus  `json:"sync_status"`
	LastSeen        int64             `json:"last_seen"`
	UpdatedAt       int64             `json:"updated_at"`
	CertDetails     map[string]int64  `json:"cert_details"`
	RPCCapabilities []string          `json:"rpc_capabilities"`
	TTL             int64             `json:"ttl"`

	Name          string              `json:"name"`
	Environment   string              `json:"environment"`
	Organisation  string              `json:"organisation"`
	Epoch         uint64              `json:"config_epoch"`
	ConfigVersion uint64              `json:"config_version"`
	Lag           *fleet.Lag          `json:"lag"` // null: not known
	Refusal       string              `json:"refusal,omitempty"`
	Quarantined   []fleet.Quarantined `json:"quarantined"`
	Kept          fleet.Kept          `json:"kept"` // what the control plane could not open
	Ready         bool                `json:"ready"`
	Away          bool                `json:"away"` // its link ended, or it was not heard of for a minute
	Serial        string              `json:"serial"`
	Issuer        string              `json:"issuer,omitempty"` // whose certificate signed its own
	Root          string              `json:"root,omitempty"`   // fingerprint of the authority that it was verified under
	TrustSequence uint64              `json:"trust_sequence"`   // of the trust that it holds; 0: its operator's files
	Revoked       bool                `json:"revoked"`
	RevokedAt     int64               `json:"revoked_at,omitempty"`
	Reason        string              `json:"revoked_reason,omitempty"`
	Replaced      bool                `json:"replaced"` // its name is another's: it was installed or joined anew
	JoinedAt      int64               `json:"joined_at,omitempty"`
	RenewedAt     int64               `json:"renewed_at,omitempty"`
	Plugins       map[string]string   `json:"plugins,omitempty"` // of one data plane, not in lists
}

// identity names a data plane among all: names are one environment's.
func identity(s fleet.Status) string { return s.Environment + "/" + s.Name }

// show makes rows: what is the same for all of them is asked once.
type show struct {
	deps     Deps
	now      time.Time
	enrolled map[string]Enrolment
}

func (a *API) show(ctx context.Context) (*show, error) {
	s := &show{deps: a.deps, now: time.Now()}
	if a.deps.Enrolled == nil {
		return s, nil
	}
	var err error
	s.enrolled, err = a.deps.Enrolled(ctx)
	return s, err
}

func (s *show) standing(d fleet.Status) fleet.SyncStatus {
	return d.Standing(s.deps.Version, s.deps.Plugin)
}

func (s *show) revoked(d fleet.Status) bool { return s.enrolled[identity(d)].RevokedAt > 0 }

// replaced reports whether a data plane is gone for good, because another has its name since.
func (s *show) replaced(d fleet.Status) bool {
	known := s.enrolled[identity(d)].Serials
	return len(known) > 0 && !slices.Contains(known, d.Serial) && d.Away(s.now)
}

func (s *show) row(d fleet.Status) row {
	known := s.enrolled[identity(d)]
	shown := row{
		ID: d.NodeID, IP: d.IP, Hostname: d.Hostname, Version: d.Version, Labels: d.Labels, ConfigHash: d.Held.Hash,
		SyncStatus: s.standing(d), LastSeen: d.LastSeen, UpdatedAt: d.UpdatedAt, CertDetails: map[string]int64{"expiry_timestamp": d.CertExpiresAt},
		TTL:  max(0, d.LastSeen+int64(s.deps.PurgeDelay/time.Second)-s.now.Unix()),
		Name: d.Name, Environment: d.Environment, Organisation: d.Organisation, Epoch: d.Held.Epoch, ConfigVersion: d.Held.Version,
		Refusal: d.Refusal, Quarantined: d.Quarantined, Kept: d.Kept, Ready: d.Ready, Away: d.Away(s.now),
		Serial: d.Serial, Issuer: d.Issuer, Root: d.Root, TrustSequence: d.TrustSequence,
		Revoked: known.RevokedAt > 0, RevokedAt: known.RevokedAt, Reason: known.Reason, Replaced: s.replaced(d), JoinedAt: known.JoinedAt, RenewedAt: known.RenewedAt,
	}
	if d.CertIssuedAt > 0 {
		shown.CertDetails["issued_timestamp"] = d.CertIssuedAt
	}
	if shown.Quarantined == nil {
		shown.Quarantined = []fleet.Quarantined{}
	}
	if s.deps.Lag != nil {
		if lag, ok := s.deps.Lag(d.Environment, d.Held); ok {
			shown.Lag = &lag
		}
	}
	return shown
}
