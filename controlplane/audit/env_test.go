package audit_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/audit/heads"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

const (
	cluster = "5c2a6a5e-3a52-4a1f-8c4f-4f1e6c1c7d10"
	node    = "node-1"
)

var errAway = errors.New("the database is away")

// memory is the journal's part of a database that fails when it is told to. What real databases do is tested
// with them, in tamper_test.go.
type memory struct {
	mu      sync.Mutex
	rows    []record.AuditEntry
	commits int
	// fails decides about the next calls: before says that nothing is done, after that the answer is lost, late
	// that the commit lands behind the next look at the end.
	before, after, late bool
	landing             []record.AuditEntry
	hold                chan struct{} // appends wait for it
	entered             chan struct{} // told of each append
}

func (m *memory) AppendAudit(_ context.Context, entries []record.AuditEntry) error {
	if m.entered != nil {
		m.entered <- struct{}{}
	}
	if m.hold != nil {
		<-m.hold
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commits++
	switch {
	case m.before:
		return fault.New(fault.Unavailable, "memory", "", errAway)
	case m.late:
		m.landing, m.late = entries, false
		return fault.New(fault.Unavailable, "memory", "", errAway)
	}
	if err := m.insert(entries); err != nil {
		return err
	}
	if m.after {
		m.after = false
		return fault.New(fault.Unavailable, "memory", "", errAway)
	}
	return nil
}

func (m *memory) insert(entries []record.AuditEntry) error {
	for _, e := range entries {
		for _, row := range m.rows {
			if row.Node == e.Node && row.Sequence == e.Sequence {
				return fault.New(fault.Conflict, "memory", "", &record.ExistsError{Table: "audit", ID: fmt.Sprint(e.Node, "/", e.Sequence)})
			}
		}
	}
	m.rows = append(m.rows, entries...)
	slices.SortFunc(m.rows, func(x, y record.AuditEntry) int {
		return cmp.Or(cmp.Compare(x.Node, y.Node), cmp.Compare(x.Sequence, y.Sequence))
	})
	return nil
}

func (m *memory) Audit(_ context.Context, query record.AuditQuery) (page []record.AuditEntry, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.before {
		return nil, fault.New(fault.Unavailable, "memory", "", errAway)
	}
	for _, e := range m.rows {
		if e.Node == query.Node && e.Sequence > query.After && len(page) < query.Limit {
			page = append(page, e)
		}
	}
	return page, nil
}

func (m *memory) AuditHeads(context.Context) (ends []record.AuditEntry, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.before {
		return nil, fault.New(fault.Unavailable, "memory", "", errAway)
	}
	for i, e := range m.rows {
		if i+1 == len(m.rows) || m.rows[i+1].Node != e.Node {
			ends = append(ends, e)
		}
	}
	if m.landing != nil {
		_ = m.insert(m.landing) // or its places are taken: then it comes to nothing
		m.landing = nil
	}
	return ends, nil
}

func (m *memory) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// prover signs with a key that all nodes of a test share.
type prover struct{ key string }

func (p prover) Prove(context string, message []byte) ([]byte, error) {
	mac := hmac.New(sha256.New, []byte(p.key+context))
	mac.Write(message)
	return mac.Sum(nil), nil
}

func (p prover) Check(context string, message, proof []byte) error {
	if want, _ := p.Prove(context, message); !bytes.Equal(want, proof) {
		return errors.New("the proof is wrong")
	}
	return nil
}

func open(t testing.TB, store audit.Store, options audit.Options) *audit.Journal {
	t.Helper()
	options.Cluster = cluster
	j, err := audit.Open(t.Context(), store, node, options)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func headsPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "audit-heads")
}

// settle does what Run does each second, once or twice.
func settle(t testing.TB, j *audit.Journal) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := j.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Run = %v", err)
	}
}

func say(t testing.TB, j *audit.Journal, subjects ...string) {
	t.Helper()
	for _, subject := range subjects {
		if err := j.Record(t.Context(), "test.act", subject); err != nil {
			t.Fatal(err)
		}
	}
}

// verify holds a chain in a store against heads, in pages of two.
func verify(t testing.TB, store audit.Store, held []heads.Held) []audit.Finding {
	t.Helper()
	findings, err := audit.Verify(cluster, node, paged(t.Context(), store), held)
	if err != nil {
		t.Fatal(err)
	}
	return findings
}

func paged(ctx context.Context, store audit.Store) iter.Seq2[record.AuditEntry, error] {
	return func(yield func(record.AuditEntry, error) bool) {
		for after := uint64(0); ; {
			page, err := store.Audit(ctx, record.AuditQuery{Node: node, After: after, Limit: 2})
			if err != nil {
				yield(record.AuditEntry{}, err)
				return
			}
			for _, e := range page {
				if after = e.Sequence; !yield(e, nil) {
					return
				}
			}
			if len(page) < 2 {
				return
			}
		}
	}
}

// clean fails the test when anything but notes is found.
func clean(t testing.TB, findings []audit.Finding) {
	t.Helper()
	for _, f := range findings {
		if !f.Note() {
			t.Errorf("found in a journal that nobody touched: %+v", f)
		}
	}
}

// actions lists what the entries of a store are, and panics on bodies that are none.
func actions(t testing.TB, rows []record.AuditEntry) (all []string) {
	t.Helper()
	for _, e := range rows {
		body, err := audit.ParseBody(e.Body)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%d %s", e.Sequence, body.Action))
	}
	return all
}

// lines counts what is logged at error.
type lines struct {
	slog.Handler
	mu     sync.Mutex
	errors []string
}

func newLog() (*slog.Logger, *lines) {
	l := &lines{Handler: slog.DiscardHandler}
	return slog.New(l), l
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Level >= slog.LevelError {
		l.errors = append(l.errors, r.Message)
	}
	return nil
}

func (l *lines) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.errors)
}
