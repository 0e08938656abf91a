package keyring

// States of a key row.
const (
	StateUsable  = "usable"  // seals when active, opens always
	StateLost    = "lost"    // its material was forgotten before anything was sealed under it
	StateRemoved = "removed" // by an operator; the id stays taken
)

// Listing is what GET /keyring shows.
type Listing struct {
	IDs    []string `json:"ids"`    // keys whose material is here, oldest first
	Active string   `json:"active"` // "" when its material is missing
}

// KeyStatus is one key for people: "active", "standby", "missing", "lost" or "removed".
type KeyStatus struct {
	ID          string `json:"id"`
	State       string `json:"state"`
	Reason      string `json:"reason,omitempty"` // why it is missing
	CreatedAt   int64  `json:"created_at"`
	ActivatedAt int64  `json:"activated_at,omitempty"`
}

// Status is the keyring for status pages. State is "ready" when every key is held, "incomplete" when the
// active one is held and another is not, "missing" when the active one is not.
type Status struct {
	Strategy     string      `json:"strategy"`
	State        string      `json:"state"`
	Active       string      `json:"active,omitempty"` // also when missing
	Keys         []KeyStatus `json:"keys"`
	MemoryLocked bool        `json:"memory_locked"` // all held material is kept out of swap; key schedules on Go's heap are not
	Warnings     []string    `json:"warnings,omitempty"`
}

// Keys lists the keys that this node holds and the active one.
func (r *Ring) Keys() Listing {
	listing := Listing{IDs: []string{}}
	s := r.state.Load()
	for _, e := range s.keys {
		if e.held != nil {
			listing.IDs = append(listing.IDs, e.row.ID)
			if e.row.ID == s.active {
				listing.Active = s.active
			}
		}
	}
	return listing
}

// Warnings says what an operator should know at every start.
func (r *Ring) Warnings() []string {
	warnings := r.keeper.Warnings()
	status := r.status()
	if status.State != "ready" {
		for _, key := range status.Keys {
			if key.State == "missing" {
				warnings = append(warnings, "keyring: key "+key.ID+" is missing: "+key.Reason)
			}
		}
	}
	return warnings
}

// Status describes the keyring.
func (r *Ring) Status() Status {
	status := r.status()
	status.Warnings = r.Warnings()
	return status
}

func (r *Ring) status() Status {
	s := r.state.Load()
	status := Status{Strategy: r.keeper.Strategy(), State: "ready", Active: s.active, Keys: []KeyStatus{}, MemoryLocked: true}
	for _, e := range s.keys {
		key := KeyStatus{ID: e.row.ID, State: s.stateOf(e), CreatedAt: e.row.CreatedAt, ActivatedAt: e.row.ActivatedAt}
		if key.State == "missing" {
			key.Reason = e.reason
			if status.State == "ready" {
				status.State = "incomplete"
			}
		}
		if e.held != nil && !e.held.locked {
			status.MemoryLocked = false
		}
		status.Keys = append(status.Keys, key)
	}
	if active, ok := s.byID[s.active]; !ok || active.held == nil {
		status.State = "missing"
	}
	return status
}

func (s *state) stateOf(e *entry) string {
	switch {
	case e.row.State == StateRemoved:
		return "removed"
	case e.held != nil && e.row.ID == s.active:
		return "active"
	case e.held != nil:
		return "standby"
	case e.row.State == StateLost:
		return "lost"
	}
	return "missing"
}
