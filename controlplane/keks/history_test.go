package keks_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/keks"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// rows is a database of KEKs that can be restored from a copy. It stands for the catalog where only histories count.
type rows struct {
	mu    sync.Mutex
	texts map[string]string // documents by name; guarded by mu
	head  uint64            // guarded by mu
	saved []map[string]string
}

func (r *rows) Head(context.Context) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.head, nil
}

func (r *rows) List(context.Context, catalog.Query) (page catalog.Page, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, text := range r.texts {
		page.Entities = append(page.Entities, &configv1.Kek{Id: new("id of " + name), Name: new(name), Document: new(text)})
	}
	return page, nil
}

func (r *rows) Insert(_ context.Context, _ catalog.Address, doc schema.Document) (proto.Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name, text := doc["name"].(string), doc["document"].(string)
	if _, taken := r.texts[name]; taken {
		return nil, fault.New(fault.Conflict, "rows", name, &catalog.Problem{Code: catalog.UniqueViolation})
	}
	r.texts[name], r.head = text, r.head+1
	return nil, nil
}

func (r *rows) Change(_ context.Context, at catalog.Address, edit func(proto.Message) (schema.Document, error)) (proto.Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text, found := r.texts[at.Key]
	if !found {
		return nil, fault.New(fault.NotFound, "rows", at.Key, &catalog.Problem{Code: catalog.NotFound})
	}
	doc, err := edit(&configv1.Kek{Id: new("id of " + at.Key), Name: new(at.Key), Document: new(text)})
	if err != nil {
		return nil, err
	}
	if next, ok := doc["document"].(string); ok && next != text {
		r.texts[at.Key], r.head = next, r.head+1
	}
	return nil, nil
}

type silent struct{}

func (silent) Record(context.Context, string, string, ...string) error { return nil }
func (silent) Refused(context.Context, string, string, ...string)      {}

// sealed is something that was wrapped.
type sealed struct {
	keyID     string
	wrapped   []byte
	plaintext string
}

// Whatever two nodes do to a KEK, and however often its database falls back to an older copy beneath them: no key_id is
// given to two keys, what was wrapped opens as itself until its key is retired, nothing is opened under another key, and
// both nodes come to say the same.
func TestHistoriesNeverReuseAKey(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(drawn *rapid.T) {
		var failed any // how rapid ends a history, which must reach it
		synctest.Test(t, func(*testing.T) {
			defer func() { failed = recover() }()
			histories(drawn)
		})
		if failed != nil {
			panic(failed)
		}
	})
}

func histories(t *rapid.T) {
	ctx, db := context.Background(), &rows{texts: map[string]string{}}
	nodes := []*keks.Keks{keks.New(db, db, silent{}, keks.Options{}), keks.New(db, db, silent{}, keks.Options{})}
	given, retired, kept := map[string]bool{}, map[string]bool{}, []sealed{}
	take := func(c keks.Changed, err error) {
		if err != nil {
			t.Fatal(err)
		}
		if given[c.KeyID] {
			t.Fatalf("key_id %s is given a second time", c.KeyID)
		}
		given[c.KeyID] = true
	}
	take(nodes[0].Create(ctx, "prod", 0))
	settle := func() {
		for range 2 { // the second one hears of what the first wrote back
			for _, node := range nodes {
				if err := node.Look(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	settle()
	actions := map[string]func(t *rapid.T, node *keks.Keks){
		"rotate": func(_ *rapid.T, node *keks.Keks) { take(node.Rotate(ctx, "prod")) },
		"retire": func(t *rapid.T, node *keks.Keks) {
			s, err := node.Show(ctx, "prod")
			if err != nil {
				t.Fatal(err)
			}
			key := rapid.SampledFrom(s.Keys).Draw(t, "key")
			if err := node.Retire(ctx, "prod", key.KeyID, true); (err == nil) == (key.State == keks.Active) {
				t.Fatalf("retiring a key that is %s: %v", key.State, err)
			}
			retired[key.KeyID] = retired[key.KeyID] || key.State != keks.Active
		},
		"wrap": func(t *rapid.T, node *keks.Keks) {
			plaintext := fmt.Sprintf("seed %d of %x", len(kept), sha256.Sum256([]byte{byte(len(kept))}))
			wrapped, keyID, err := node.Wrap(ctx, prod, keks.Use{Name: "prod", UID: "u"}, []byte(plaintext))
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, sealed{keyID, wrapped, plaintext})
		},
		"wait":    func(*rapid.T, *keks.Keks) { time.Sleep(time.Minute) },
		"save":    func(*rapid.T, *keks.Keks) { db.saved = append(db.saved, maps.Clone(db.texts)) },
		"restore": func(t *rapid.T, _ *keks.Keks) { db.restore(t); settle() },
		"restart": func(*rapid.T, *keks.Keks) {
			settle()
			nodes[1] = keks.New(db, db, silent{}, keks.Options{})
		},
	}
	names := []string{"rotate", "retire", "wrap", "wrap", "wait", "save", "restore", "restart"}
	for range rapid.IntRange(1, 25).Draw(t, "steps") {
		node := nodes[rapid.IntRange(0, 1).Draw(t, "node")]
		actions[rapid.SampledFrom(names).Draw(t, "action")](t, node)
	}
	settle()
	agree(t, nodes)
	for _, s := range kept {
		for _, node := range nodes {
			opened, err := node.Unwrap(ctx, prod, keks.Use{Name: "prod", KeyID: s.keyID}, s.wrapped)
			switch {
			case retired[s.keyID] && fault.KindOf(err) != fault.Conflict:
				t.Fatalf("under a retired key: %q, %v", opened, err)
			case !retired[s.keyID] && (err != nil || string(opened) != s.plaintext):
				t.Fatalf("%q opens as %q, %v", s.plaintext, opened, err)
			}
			for id := range given {
				if opened, err := node.Unwrap(ctx, prod, keks.Use{Name: "prod", KeyID: id}, s.wrapped); id != s.keyID && err == nil {
					t.Fatalf("what %s wrapped opens under %s as %q", s.keyID, id, opened)
				}
			}
		}
	}
}

func (r *rows) restore(t *rapid.T) {
	if len(r.saved) > 0 {
		r.texts, r.head = maps.Clone(rapid.SampledFrom(r.saved).Draw(t, "copy")), r.head/2
	}
}

// agree says that nodes show the same.
func agree(t *rapid.T, nodes []*keks.Keks) {
	var shown []string
	for _, node := range nodes {
		var b strings.Builder
		for _, s := range node.Known() {
			fmt.Fprintf(&b, "%s %s\n", s.Name, s.KeyID)
			for _, key := range s.Keys {
				fmt.Fprintf(&b, "  %s %s %v %v %v\n", key.KeyID, key.State, key.CreatedAt, key.ReplacedAt, key.RetiredAt)
			}
			if len(s.Warnings) > 0 {
				t.Fatalf("it warns %q", s.Warnings)
			}
		}
		shown = append(shown, b.String())
	}
	if shown[0] != shown[1] {
		t.Fatalf("one node shows\n%s\nand the other\n%s", shown[0], shown[1])
	}
}
