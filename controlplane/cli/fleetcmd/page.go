package fleetcmd

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

// plane is one data plane, as the Admin API shows it.
type plane struct {
	ID, Name, Hostname, IP, Version, Environment, Organisation string
	Labels, Plugins                                            map[string]string
	SyncStatus                                                 string `json:"sync_status"`
	ConfigHash                                                 string `json:"config_hash"`
	Epoch                                                      uint64 `json:"config_epoch"`
	ConfigVersion                                              uint64 `json:"config_version"`
	Lag                                                        *struct {
		Versions uint64
		Seconds  int64
		AtLeast  bool `json:"at_least"`
	}
	Refusal     string
	Quarantined []struct{ Kind, ID, Name, Reason string }
	Kept        struct{ Entries, Lacking int }
	Ready, Away bool
	LastSeen    int64 `json:"last_seen"`
	Certificate struct {
		Expires int64 `json:"expiry_timestamp"`
		Issued  int64 `json:"issued_timestamp"`
	} `json:"cert_details"`
	Serial, Issuer, Root string
	TrustSequence        uint64 `json:"trust_sequence"`
	Revoked              bool
	RevokedAt            int64  `json:"revoked_at"`
	Reason               string `json:"revoked_reason"`
	Replaced             bool
	JoinedAt             int64 `json:"joined_at"`
	RenewedAt            int64 `json:"renewed_at"`
}

// position is what the data planes of an environment should hold.
type position struct {
	Epoch, Version uint64
	Hash           string
}

// page is GET /clustering/data-planes.
type page struct {
	Data         []json.RawMessage
	Offset       string
	Newest       *position
	Environments map[string]position
	Revision     struct{ Database, Published uint64 }
}

// each calls do with every page that a query selects, and with its data planes.
func each(ctx context.Context, client *adminclient.Client, query url.Values, do func(p page, planes []plane) error) error {
	query.Set("size", "1000")
	for more := true; more; {
		var p page
		if err := client.Call(ctx, "GET", "/clustering/data-planes?"+query.Encode(), "", nil, &p); err != nil {
			return err
		}
		planes := make([]plane, len(p.Data))
		for i, text := range p.Data {
			if err := json.Unmarshal(text, &planes[i]); err != nil {
				return fmt.Errorf("the answer is not the Admin API's: %w", err)
			}
		}
		if err := do(p, planes); err != nil {
			return err
		}
		query.Set("offset", p.Offset)
		more = p.Offset != ""
	}
	return nil
}

// link is whether a data plane is there.
func (d plane) link() string {
	switch {
	case d.Revoked:
		return "revoked"
	case d.Replaced:
		return "replaced"
	case d.Away: // what is said of it is what was true then
		return "away"
	}
	return "linked"
}

// behind says how far what a data plane holds is behind, "-" when it is not.
func (d plane) behind() string {
	switch {
	case d.Lag == nil:
		return "?"
	case d.Lag.Versions == 0:
		return "-"
	}
	text := counted(int(d.Lag.Versions), "version") + ", " + (time.Duration(d.Lag.Seconds) * time.Second).String()
	if d.Lag.AtLeast {
		return "at least " + text
	}
	return text
}

// holds says what a data plane has.
func (d plane) holds() string {
	if d.ConfigHash == "" {
		return "nothing"
	}
	return fmt.Sprint("version ", d.ConfigVersion)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func ago(at int64) string { return length(time.Since(time.Unix(at, 0))) + " ago" }

// until says when a certificate ends.
func until(at int64) string {
	left := time.Until(time.Unix(at, 0))
	if left < 0 {
		return "expired " + length(-left) + " ago"
	}
	return "in " + length(left)
}

// length is a time as people say it.
func length(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.Round(time.Second).String()
}

// printable is a text without what a terminal or the table would take for a command: a data plane says what it likes of itself.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
