package members_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/members"
)

var rewrite = flag.Bool("update", false, "write the golden file anew")

func joined(t *testing.T, m *members.Members) {
	t.Helper()
	if err := m.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestForm holds the stored form of a lease: nodes of several versions share a database.
func TestForm(t *testing.T) {
	bubble(t, func(t *testing.T) { // whose clock starts at the same time always
		store := newTable()
		say := members.Say{
			Node: "6f1c", Name: "first", Hostname: "host", Version: "1.2.3", Address: "host:8005", Started: 12, Strategy: "cluster",
			Sequence: 7, Holds: []string{"8zgITLQh", "iX5BoyAb"}, Joined: true, CertificateExpires: 99,
			Rings:  map[string]members.Ring{"kms/b": {}, "kms/a": {Sequence: 3, Holds: []string{"Bb34ttW0"}, Joined: true}},
			Reads:  map[string][]string{"licenses": {"identity"}, "*": {"k8s:enc:kms:v2:a:", "$ke$1$-"}},
			Writes: map[string]string{"licenses": "identity", "*": "k8s:enc:kms:v2:a:"},
		}
		joined(t, members.New(store, shared, "cluster-1", func() members.Say { return say }, members.Options{}))
		joined(t, members.New(store, nil, "cluster-1", func() members.Say { return members.Say{Node: "bare"} }, members.Options{}))
		got := append(append(store.body("6f1c"), '\n'), append(store.body("bare"), '\n')...)
		golden := filepath.Join("testdata", "lease.golden")
		if *rewrite {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestForgedLeasesAreRefused(t *testing.T) {
	of := func(t *testing.T, prover members.Prover, cluster, id string) []byte {
		t.Helper()
		store := newTable()
		joined(t, members.New(store, prover, cluster, func() members.Say { return members.Say{Node: id, Hostname: "claimed"} }, members.Options{}))
		return store.body(id)
	}
	replace := func(body []byte, old, text string) []byte { return bytes.Replace(body, []byte(old), []byte(text), 1) }
	tests := map[string]struct {
		body func(t *testing.T) []byte
		want string
	}{
		"no proof":            {func(t *testing.T) []byte { return of(t, nil, "cluster-1", "b") }, "no proof"},
		"another key's proof": {func(t *testing.T) []byte { return of(t, key("foreign"), "cluster-1", "b") }, "does not hold"},
		"another cluster's":   {func(t *testing.T) []byte { return of(t, shared, "cluster-2", "b") }, "does not hold"},
		"another node's":      {func(t *testing.T) []byte { return of(t, shared, "cluster-1", "c") }, "does not hold"},
		"ids that run over":   {func(t *testing.T) []byte { return of(t, shared, "cluster-1b", "") }, "does not hold"},
		"a changed word":      {func(t *testing.T) []byte { return replace(of(t, shared, "cluster-1", "b"), "claimed", "Claimed") }, "does not hold"},
		"a space more":        {func(t *testing.T) []byte { return replace(of(t, shared, "cluster-1", "b"), `,"run"`, `, "run"`) }, "does not hold"},
		"nothing":             {func(*testing.T) []byte { return nil }, "not of the form"},
		"no JSON":             {func(*testing.T) []byte { return []byte("secret text") }, "not of the form"},
		"another JSON":        {func(*testing.T) []byte { return []byte(`[1]`) }, "not of the form"},
		"an empty object":     {func(*testing.T) []byte { return []byte(`{}`) }, "no proof"},
		"more than a node has": {func(*testing.T) []byte {
			return []byte(`{"said":{"node":"b"},"x":"` + strings.Repeat("x", 1<<20) + `"}`)
		}, "not of the form"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newTable()
			var log bytes.Buffer
			a := start(t, node(store, "a", members.Options{Every: time.Millisecond, Log: logTo(&log)}))
			if err := store.PutLease(t.Context(), "b", test.body(t)); err != nil {
				t.Fatal(err)
			}
			all, err := a.All(t.Context())
			if err != nil || len(all) != 2 {
				t.Fatalf("%+v, %v", all, err)
			}
			if b := all[1]; b.Live || !strings.Contains(b.Refused, test.want) || b.Node != "b" || b.Hostname != "" || strings.Contains(b.Refused, "secret") {
				t.Errorf("the forged lease is shown as %+v", b)
			}
			expectLive(t, a.Members, "a")
		})
	}
}

// TestSignedByAnother: a node that may prove cannot speak for another one.
func TestSignedByAnother(t *testing.T) {
	t.Parallel()
	said, err := json.Marshal(map[string]any{"node": "c", "run": 1, "number": 1})
	if err != nil {
		t.Fatal(err)
	}
	store := newTable()
	body, err := json.Marshal(map[string]any{"said": json.RawMessage(said)})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.PutLease(t.Context(), "b", body); err != nil {
		t.Fatal(err)
	}
	a := members.New(store, nil, "cluster-1", func() members.Say { return members.Say{Node: "a"} }, members.Options{})
	all, err := a.All(t.Context())
	if err != nil || len(all) != 1 || all[0].Live || !strings.Contains(all[0].Refused, "another node") {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestReplaysAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newTable()
		a := node(store, "a", members.Options{})
		b := node(store, "b", members.Options{})
		joined(t, b)
		old := store.body("b")
		if err := b.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		last := store.body("b")
		expectLive(t, a, "b")
		put := func(body []byte) members.Member {
			t.Helper()
			if err := store.PutLease(t.Context(), "b", body); err != nil {
				t.Fatal(err)
			}
			all, err := a.All(t.Context())
			if err != nil || len(all) != 1 {
				t.Fatalf("%+v, %v", all, err)
			}
			return all[0]
		}
		if m := put(old); m.Live || !strings.Contains(m.Refused, "later one") {
			t.Errorf("an older lease: %+v", m)
		}
		for range 14 { // dated anew each second
			later(time.Second)
			if m := put(last); !m.Live || m.Refused != "" {
				t.Errorf("the last lease: %+v", m)
			}
		}
		later(time.Second)
		if m := put(last); m.Live || m.Refused != "" || m.Age != 15*time.Second {
			t.Errorf("the last lease, with a later date: %+v", m)
		}
		// The node starts again: its first lease follows those of the process before, and these stay refused.
		joined(t, node(store, "b", members.Options{}))
		fresh := store.body("b")
		expectLive(t, a, "b")
		if m := put(last); m.Live || m.Refused == "" {
			t.Errorf("a lease of the process before: %+v", m)
		}
		if m := put(fresh); !m.Live {
			t.Errorf("the newest lease: %+v", m)
		}
	})
}

// TestClockPutBack: a node's own clock may be put back while it is down.
func TestClockPutBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, future := newTable(), newTable()
		watcher := node(store, "a", members.Options{})
		joined(t, node(store, "b", members.Options{}))
		// Far in the future, by the same clock.
		began := store.body("b")
		later(time.Hour)
		joined(t, node(future, "b", members.Options{}))
		store.set(func(d *table) { d.rows["b"] = row{time.Now(), future.body("b")} })
		expectLive(t, watcher, "b")
		if bytes.Equal(began, store.body("b")) {
			t.Fatal("the lease is the same")
		}
		for range 3 {
			joined(t, node(store, "b", members.Options{}))
			expectLive(t, watcher, "b")
		}
	})
}

func FuzzLease(f *testing.F) {
	f.Add([]byte(`{"said":{"node":"b","sequence":1,"joined":true,"run":1,"number":2}}`))
	f.Add([]byte(`{"said":{"node":"b","run":1e99},"proof":"AA=="}`))
	f.Add([]byte(`{"said":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		store := newTable()
		if err := store.PutLease(t.Context(), "b", body); err != nil {
			t.Fatal(err)
		}
		for _, prover := range []members.Prover{nil, shared} {
			m := members.New(store, prover, "cluster-1", func() members.Say { return members.Say{Node: "a"} }, members.Options{})
			all, err := m.All(t.Context())
			if err != nil || len(all) != 1 || all[0].Node != "b" || all[0].Live == (all[0].Refused != "") && all[0].Live {
				t.Fatalf("%+v, %v", all, err)
			}
			if prover != nil && all[0].Live {
				t.Fatal("a forged lease lives")
			}
		}
	})
}
