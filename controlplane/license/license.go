// Package license knows which license is in force, for those who ask: GET /, GET /license/report, the status port.
//
// Nothing depends on a license. An absent, an expired or an unreadable one stops no start, no traffic and no write;
// it is told in the log and where it is asked for. What a license says beyond its date is shown nowhere.
//
// Taken is, in this order, the first that is in force of license_data, of the file at license_path, and of the
// newest in /licenses. Where none is, the first that says anything tells the state: expired before pending,
// pending before one that cannot be read. So a node that is given a license at its start has it at once, and one
// whose licenses are sealed (keyring_encrypt_license) waits for the keyring with nothing else waiting for it.
//
// Whether a text is a license is shared/licensetext's; its signature is not verified.
package license

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/licensetext"
	"github.com/keepgate/keepgate/shared/secret"
)

// State is how it stands with the license.
type State string

// States, from the best to the worst.
const (
	Active     State = "active"
	Expired    State = "expired"
	Pending    State = "pending"    // sealed under a key that this node does not hold now
	Unreadable State = "unreadable" // the file, the database or the stored value cannot be read
	Invalid    State = "invalid"    // it is no license
	None       State = "none"
)

// rank orders candidates: what is in force wins, and then what tells most.
func (s State) rank() int {
	for i, state := range []State{Active, Expired, Pending, Unreadable, Invalid, None} {
		if s == state {
			return i
		}
	}
	return len(s)
}

// Status is what may be told of the license. It holds nothing of the license but its date.
type Status struct {
	State   State  `json:"state"`
	Source  string `json:"source,omitempty"` // license_data, license_path or licenses/<id>
	Expires string `json:"license_expiration_date,omitempty"`
	Reason  string `json:"reason,omitempty"`

	ends time.Time // zero: it does not
}

// Given is what this node was given at its start.
type Given struct {
	Data secret.Bytes
	Path string // "": none
}

// Catalog is asked for /licenses.
type Catalog interface {
	List(ctx context.Context, query catalog.Query) (catalog.Page, error)
}

// Options tunes Licenses. The zero value is right for production.
type Options struct {
	Poll time.Duration // how often the licenses are read without a hint; default 10 s
	Log  *slog.Logger  // default: discard
}

// Licenses knows the license in force. It is safe for concurrent use.
type Licenses struct {
	catalog Catalog
	given   Given
	options Options
	hints   chan struct{}
	warned  time.Time // when the log was last told of an end; touched by Run alone

	mu     sync.Mutex
	status Status // guarded by mu
}

// New makes Licenses and reads nothing; [Licenses.Load] does.
func New(c Catalog, given Given, options Options) *Licenses {
	if options.Poll <= 0 {
		options.Poll = 10 * time.Second
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	return &Licenses{catalog: c, given: given, options: options, hints: make(chan struct{}, 1), status: Status{State: None}}
}

// Status is the license in force now.
func (l *Licenses) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status.at(time.Now())
}

// at tells an active license that ended since from one that did not.
func (s Status) at(now time.Time) Status {
	if s.State == Active && !s.ends.IsZero() && !now.Before(s.ends) {
		s.State = Expired
	}
	return s
}

// Load reads all that there is, once, before the first request is served. It has no error on purpose: no license
// is worth a start.
func (l *Licenses) Load(ctx context.Context) {
	best := Status{State: None}
	for _, candidate := range append(l.ofNode(), l.ofDatabase(ctx)...) {
		if candidate.State.rank() < best.State.rank() {
			best = candidate
		}
	}
	l.mu.Lock()
	before := l.status
	l.status = best
	l.mu.Unlock()
	if best.State == before.State && best.Source == before.Source && best.Expires == before.Expires {
		return
	}
	level := slog.LevelInfo
	if best.State != Active && best.State != None {
		level = slog.LevelWarn
	}
	l.options.Log.Log(ctx, level, "license", "state", string(best.State), "source", best.Source, "expires", best.Expires, "reason", best.Reason)
}

// ofNode reads what the settings give.
func (l *Licenses) ofNode() (found []Status) {
	l.given.Data.Reveal(func(data []byte) {
		if len(data) > 0 {
			found = append(found, of("license_data", string(data)))
		}
	})
	if l.given.Path == "" {
		return found
	}
	text, err := readFile(l.given.Path)
	if err != nil {
		return append(found, Status{State: Unreadable, Source: "license_path", Reason: err.Error()})
	}
	return append(found, of("license_path", text))
}

func readFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", errors.Join(fmt.Errorf("%s is no file", path), err)
	}
	data, err := io.ReadAll(io.LimitReader(file, licensetext.MaxBytes+1))
	return string(data), err
}

// of says what a text is.
func of(source, text string) Status {
	license, err := licensetext.Parse(text)
	if err != nil {
		return Status{State: Invalid, Source: source, Reason: "not a license: the text " + err.Error()}
	}
	s := Status{State: Active, Source: source, Expires: license.Date, ends: license.Expires}
	return s.at(time.Now())
}

// ofDatabase reads /licenses. While the database cannot be read, what it held before counts.
func (l *Licenses) ofDatabase(ctx context.Context) (found []Status) {
	page, err := l.catalog.List(ctx, catalog.Query{Table: table})
	if err != nil {
		if last := l.last(); last != nil {
			return []Status{*last}
		}
		return []Status{{State: Unreadable, Source: table, Reason: fault.Text(err)}}
	}
	if newest := newestOf(page.Entities); newest != nil {
		found = append(found, of(table+"/"+newest.GetId(), newest.GetPayload()))
	}
	for _, row := range page.Undecryptable {
		state := Unreadable
		if fault.KindOf(row.Err) == fault.Unavailable {
			state = Pending
		}
		found = append(found, Status{State: state, Source: table + "/" + row.ID, Reason: fault.Text(row.Err)})
	}
	return found
}
