package audit_test

import (
	"bytes"
	"errors"
	"iter"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/audit/heads"
	"github.com/keepgate/keepgate/controlplane/record"
)

func sequence(rows []record.AuditEntry) iter.Seq2[record.AuditEntry, error] {
	return func(yield func(record.AuditEntry, error) bool) {
		for _, e := range rows {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func headOf(e record.AuditEntry) heads.Held {
	return heads.Held{Head: heads.Head{Cluster: cluster, Node: e.Node, Sequence: e.Sequence, Hash: e.Hash, At: 1}}
}

// What no database would give, but an answer over the network could hold.
func TestVerifyTakesNothingForGranted(t *testing.T) {
	t.Parallel()
	rows := forge(nil, forged, forged, forged, forged, forged)
	whole := []heads.Held{headOf(rows[4])}
	other := headOf(rows[2])
	other.Hash = rows[1].Hash
	contradiction := other
	contradiction.Conflict, contradiction.From = true, "keepgate://control-plane/acme/-/cp-2"
	foreign := slices.Clone(rows)
	foreign[2].Node = "node-2"
	tests := map[string]struct {
		rows []record.AuditEntry
		held []heads.Held
		want []audit.Kind
	}{
		"a whole chain":                  {rows, whole, nil},
		"nobody holds a head":            {rows, nil, []audit.Kind{audit.Unproven}},
		"nothing at all":                 {nil, nil, nil},
		"one twice":                      {slices.Insert(slices.Clone(rows), 3, rows[2]), whole, []audit.Kind{audit.Misplaced}},
		"one behind its place":           {slices.Insert(slices.Clone(rows), 4, rows[1]), whole, []audit.Kind{audit.Misplaced}},
		"backwards":                      {[]record.AuditEntry{rows[4], rows[3]}, whole, []audit.Kind{audit.Missing, audit.Misplaced}},
		"one of another node":            {foreign, whole, []audit.Kind{audit.Misplaced, audit.Missing}},
		"heads of one sequence disagree": {rows, append(whole, headOf(rows[2]), other), []audit.Kind{audit.Forked}},
		"a node contradicted itself":     {rows, append(whole, headOf(rows[2]), contradiction), []audit.Kind{audit.Forked, audit.Forked}},
		"a head of another node":         {rows, append(whole, heads.Held{Head: heads.Head{Cluster: cluster, Node: "node-2", Sequence: 9, Hash: rows[0].Hash}}), nil},
		"a head of another database":     {rows, append(whole, heads.Held{Head: heads.Head{Cluster: "other", Node: node, Sequence: 9, Hash: rows[0].Hash}}), nil},
	}
	for name, test := range tests {
		findings, err := audit.Verify(cluster, node, sequence(test.rows), test.held)
		if err != nil {
			t.Fatal(err)
		}
		var got []audit.Kind
		for _, f := range findings {
			got = append(got, f.Kind)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: (-want +got):\n%s\n%+v", name, diff, findings)
		}
	}
	if findings, _ := audit.Verify("other", node, sequence(rows), nil); len(findings) < len(rows) {
		t.Errorf("a chain of another database passes: %+v", findings)
	}
}

func TestVerifyPassesErrorsOn(t *testing.T) {
	t.Parallel()
	broken := func(yield func(record.AuditEntry, error) bool) { yield(record.AuditEntry{}, errAway) }
	if _, err := audit.Verify(cluster, node, broken, nil); !errors.Is(err, errAway) {
		t.Errorf("Verify = %v", err)
	}
}

// Of a whole chain with a head at its end, no single changed bit passes.
func FuzzVerify(f *testing.F) {
	rows := forge(nil, forged, `{"actor":{"via":"node"},"action":"audit.rewound","subject":"x","detail":{"held_sequence":"2"}}`, forged)
	held := []heads.Held{headOf(rows[2])}
	f.Add(uint8(0), uint8(0), uint64(1), int64(0), []byte(forged), rows[0].Hash)
	f.Add(uint8(1), uint8(1), uint64(2), int64(5), []byte("{}"), []byte(nil))
	f.Fuzz(func(t *testing.T, at, kind uint8, number uint64, time int64, body, hash []byte) {
		changed := slices.Clone(rows)
		e := &changed[int(at)%len(changed)]
		before := *e
		switch kind % 4 {
		case 0:
			e.Sequence = number
		case 1:
			e.At = time
		case 2:
			e.Body = body
		case 3:
			e.Hash = hash
		}
		same := e.Sequence == before.Sequence && e.At == before.At && bytes.Equal(e.Body, before.Body) && bytes.Equal(e.Hash, before.Hash)
		findings, err := audit.Verify(cluster, node, sequence(changed), held)
		if err != nil {
			t.Fatal(err)
		}
		wrong := slices.ContainsFunc(findings, func(f audit.Finding) bool { return !f.Note() })
		if wrong == same {
			t.Errorf("changed %v, found %+v", !same, findings)
		}
	})
}
