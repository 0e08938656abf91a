package vault

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

// seen is what the last looks at Vault gave, immutable.
type seen struct {
	at       time.Time // of the last one that went well; zero: none did
	current  int
	versions []version
	expires  time.Time // of the token, where it is known; zero: never
	brief    bool      // it ends before the next poll, and cannot be renewed
	gone     []string  // keys that are held here and that no version has
	missing  []string  // keys that are wanted here and that no version has
	failure  string    // why the last one did not go well, and what mends it
	cause    string    // the same in short
	since    time.Time // since when
}

func (s *seen) version(number int, created string) (version, bool) {
	i := slices.IndexFunc(s.versions, func(v version) bool { return v.number == number && v.created == created })
	if i < 0 {
		return version{}, false
	}
	return s.versions[i], true
}

// has reports whether a key's version can be read.
func (s *seen) has(id string) bool {
	return slices.ContainsFunc(s.versions, func(v version) bool { return v.id == id && v.gone == "" })
}

func (k *Keeper) failed(err error) {
	next := *k.seen.Load()
	if next.failure == "" {
		next.since = time.Now()
	}
	next.failure = fault.Text(err)
	if c, ok := errors.AsType[*cannotRead](err); ok {
		next.failure = c.text
	}
	next.cause = textOf(causeOf(err))
	k.seen.Store(&next)
}

// succeeded notes what was read, and which of the keys that are held and wanted by now are not there.
func (k *Keeper) succeeded(r *reading, held, wanted []string) {
	next := &seen{at: time.Now(), current: r.current, versions: slices.Clone(r.versions)}
	has := func(id string) bool { return next.has(id) }
	next.gone = slices.DeleteFunc(slices.Clone(held), has)
	next.missing = slices.DeleteFunc(slices.Clone(wanted), has)
	if r.token.TTL > 0 {
		next.expires = next.at.Add(r.token.TTL)
		next.brief = r.token.TTL < k.options.Poll
	}
	k.seen.Store(next)
}

// whereIs says why the material of a key is not here.
func (k *Keeper) whereIs(id string) string {
	s := k.seen.Load()
	switch {
	case slices.Contains(s.missing, id):
		return "no version of " + k.place() + " in Vault holds it any more. If it was deleted, vault kv undelete brings it back, and then: keepgate-cp keyring vault-sync"
	case s.failure != "":
		return "it is in Vault, which cannot be read: " + s.cause
	case s.at.IsZero() && k.tokenless():
		return "it is in Vault; " + errNoToken.(*fault.Error).Err.Error()
	case s.at.IsZero():
		return "it is in Vault, which has not answered yet"
	}
	return "it is in Vault, or was; this node asks the others for it, and reads Vault again soon, or by keepgate-cp keyring vault-sync"
}

// Warnings are what an operator should know now.
func (k *Keeper) Warnings() (warnings []string) {
	s := k.seen.Load()
	if s.failure != "" {
		warnings = append(warnings, fmt.Sprintf("keyring: since %s: %s", s.since.UTC().Format(time.RFC3339), s.failure))
	}
	for _, v := range s.versions {
		name := fmt.Sprintf("keyring: version %d of %s in Vault", v.number, k.place())
		switch {
		case v.number == s.current && v.gone != "":
			warnings = append(warnings, name+", the newest, is "+v.gone+": the active key stays. Undelete it, or write another: "+k.put())
		case v.refused != "" && v.gone == "":
			warnings = append(warnings, name+" is refused: "+v.refused+". Write another: "+k.put())
		case v.short && v.gone == "":
			warnings = append(warnings, name+" has a short key, which may be guessed: key="+"$(openssl rand -base64 32) cannot be")
		}
	}
	if len(s.gone) > 0 {
		warnings = append(warnings, fmt.Sprintf("keyring: keys that are held here and gone from Vault, since their versions were deleted or destroyed: %d (%s). A restart of every "+
			"node loses them: see that nothing rests under them (keepgate-cp keyring reencrypt), or undelete the versions", len(s.gone), strings.Join(s.gone, " ")))
	}
	if s.brief {
		warnings = append(warnings, fmt.Sprintf("keyring: keyring_vault_token ends at %s, before the next poll, and cannot be renewed for longer: "+
			"give it a longer life, or set keyring_vault_poll to less", s.expires.UTC().Format(time.RFC3339)))
	}
	return warnings
}

// Status is what this node knows of Vault, for GET /keyring.
type Status struct {
	Address  string          `json:"address"`
	Path     string          `json:"path"` // with the mount
	ReadAt   int64           `json:"read_at,omitempty"`
	Current  int             `json:"current_version,omitempty"`
	Versions []VersionStatus `json:"versions"`
	Gone     []string        `json:"gone"` // keys that are held here and that no version has
	Failure  string          `json:"failure,omitempty"`
	Since    int64           `json:"failing_since,omitempty"`
}

// VersionStatus is one version of the secret: its state is "taken", "refused", "deleted" or "destroyed".
type VersionStatus struct {
	Version int    `json:"version"`
	ID      string `json:"id,omitempty"`
	State   string `json:"state"`
	Reason  string `json:"reason,omitempty"`
}

// Status is what this node knows of Vault.
func (s *Sync) Status() Status {
	k, now := s.keeper, s.keeper.seen.Load()
	status := Status{
		Address: k.client.Address(), Path: k.place(), Current: now.current, Versions: []VersionStatus{},
		Gone: append([]string{}, now.gone...), Failure: now.failure,
	}
	if !now.at.IsZero() {
		status.ReadAt = now.at.Unix()
	}
	if now.failure != "" {
		status.Since = now.since.Unix()
	}
	for _, v := range now.versions {
		one := VersionStatus{v.number, v.id, "taken", ""}
		switch {
		case v.gone != "":
			one.State = v.gone
		case v.refused != "":
			one.State, one.Reason = "refused", v.refused
		}
		status.Versions = append(status.Versions, one)
	}
	return status
}
