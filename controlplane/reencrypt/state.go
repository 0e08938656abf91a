package reencrypt

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

const (
	metaJob = "reencrypt_job"
	version = 1 // of the stored form

	subject = "reencryption" // of faults
)

// State is what becomes of a job.
type State string

const (
	Running   State = "running"
	Paused    State = "paused"
	Done      State = "done"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// ended: nobody works at it any more, and another may be started.
func (s State) ended() bool { return s == Done || s == Failed || s == Cancelled }

// Where secrets are to rest.
const (
	ToActive    = "active"    // under the active key
	ToPlaintext = "plaintext" // in clear
)

// stored is the job as the database holds it, frozen by testdata/job.golden. Times are Unix milliseconds.
type stored struct {
	Version   int    `json:"version"`
	ID        string `json:"id"`
	To        string `json:"to"`
	Table     string `json:"table,omitempty"`     // "": all
	Workspace string `json:"workspace,omitempty"` // "": all
	Rate      int    `json:"rate,omitempty"`      // rows a second; 0: no limit
	State     State  `json:"state"`
	Owner     string `json:"owner,omitempty"` // the node that works
	Started   int64  `json:"started"`
	Ended     int64  `json:"ended,omitempty"`

	Migration bool `json:"migration,omitempty"` // it began while plaintext was still read

	Pass int `json:"pass"` // counts from 1
	// Writers are the marks of what this pass writes, by table; "": in clear.
	Writers map[string]string `json:"writers,omitempty"`
	At      place             `json:"at"`
	Tables  []Table           `json:"tables,omitempty"`

	Speed   float64 `json:"speed,omitempty"`   // rows a second lately
	Waiting string  `json:"waiting,omitempty"` // why nothing goes on for now
	Reason  string  `json:"reason,omitempty"`  // why it failed
	Proof   *Proof  `json:"proof,omitempty"`
}

// place is how far a pass has come: all rows of the tables before, and those of the table up to an id.
type place struct {
	Table string `json:"table,omitempty"`
	After string `json:"after,omitempty"`
	End   bool   `json:"end,omitempty"` // all tables are done
}

// Table is what was done in one table.
type Table struct {
	Table      string       `json:"table"`
	Stale      int          `json:"stale"`    // rows that this pass found to do, of all workspaces
	Scanned    int          `json:"scanned"`  // rows that this pass looked at
	Resealed   int          `json:"resealed"` // rows written, in all passes
	Retried    int          `json:"retried"`  // times that a row was read again because others wrote it
	InPass     int          `json:"in_pass"`  // rows written in this pass
	Unreadable []Unreadable `json:"unreadable,omitempty"`
}

// Unreadable are rows of one table that do not open, for one reason.
type Unreadable struct {
	Key    string   `json:"key_id,omitempty"` // the key that is missing
	Reason string   `json:"reason"`
	Rows   int      `json:"rows"`
	IDs    []string `json:"ids"` // the first of them
}

// Proof is how secrets rest at the end, as the database counts it.
type Proof struct {
	At     int64      `json:"at"`
	Tables []Count    `json:"tables"` // rows by table and key
	Keys   []KeyCount `json:"keys"`   // every key of the rings and of the other providers in use, those without rows too
	Clear  int        `json:"clear"`  // rows with a secret in clear
	// Ended is what could be ended with that: "migration" from plaintext, or "encryption". Empty: neither.
	Ended string `json:"ended,omitempty"`
	Files string `json:"files,omitempty"` // what is to be known of what was overwritten
}

// Count is the rows of a table that hold a value under a key; key "" is a value in clear.
type Count struct {
	Table string `json:"table"`
	Key   string `json:"key_id"` // the mark
	Rows  int    `json:"rows"`
}

// KeyCount is the rows that hold a value under a key.
type KeyCount struct {
	Key    string `json:"key_id"` // the mark
	Rows   int    `json:"rows"`
	Active bool   `json:"active"` // some table is written under it
}

func (s *stored) text() string {
	text, err := json.Marshal(s)
	if err != nil { // of plain types: cannot be
		panic(err)
	}
	return string(text)
}

// parse reads the stored form. One of a newer version is refused, since its meaning is not known.
func parse(text string) (*stored, error) {
	s := &stored{}
	if err := json.Unmarshal([]byte(text), s); err != nil {
		return nil, fault.Newf(fault.Corrupt, "reencrypt", "meta/"+metaJob, "the stored job is malformed")
	}
	if s.Version != version {
		return nil, fault.Newf(fault.Denied, "reencrypt", "meta/"+metaJob, "the stored job has version %d, this program knows %d", s.Version, version)
	}
	return s, nil
}

// load reads the job and the text to compare with; both are nil when there never was one.
func (j *Job) load(ctx context.Context) (s *stored, text *string, err error) {
	value, found, err := j.store.Meta(ctx, metaJob)
	if err != nil || !found {
		return nil, nil, err
	}
	s, err = parse(value)
	return s, &value, err
}

// change reads the job, lets edit decide and writes it, again when others were faster.
func (j *Job) change(ctx context.Context, edit func(s *stored) (*stored, error)) (*stored, error) {
	const patience = 10 * time.Second // the node that works saves once a second
	for begun := time.Now(); time.Since(begun) < patience && ctx.Err() == nil; {
		s, text, err := j.load(ctx)
		if err != nil {
			return nil, err
		}
		if s, err = edit(s); err != nil {
			return nil, err
		}
		err = j.store.SwapMeta(ctx, metaJob, text, s.text())
		if err == nil {
			return s, nil
		}
		if fault.KindOf(err) != fault.Conflict {
			return nil, fmt.Errorf("saving the job: %w", err)
		}
	}
	return nil, fault.Newf(fault.Conflict, "reencrypt", subject, "other nodes keep changing the job")
}

// table returns the entry of a table, and makes it.
func (s *stored) table(name string) *Table {
	at := slices.IndexFunc(s.Tables, func(t Table) bool { return t.Table == name })
	if at < 0 {
		s.Tables = append(s.Tables, Table{Table: name})
		at = len(s.Tables) - 1
	}
	return &s.Tables[at]
}

const maxNamed = 100 // ids of a table that are kept

// note counts a row that does not open.
func (t *Table) note(key, reason, id string) {
	at := slices.IndexFunc(t.Unreadable, func(u Unreadable) bool { return u.Key == key && u.Reason == reason })
	if at < 0 {
		t.Unreadable = append(t.Unreadable, Unreadable{Key: key, Reason: reason, IDs: []string{}})
		at = len(t.Unreadable) - 1
	}
	u := &t.Unreadable[at]
	u.Rows++
	if len(u.IDs) < maxNamed {
		u.IDs = append(u.IDs, id)
	}
}

func (t *Table) unreadable() (rows int) {
	for _, u := range t.Unreadable {
		rows += u.Rows
	}
	return rows
}
