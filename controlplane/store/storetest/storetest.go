// Package storetest holds the contract of record.Store as tests, which every engine of controlplane/store
// runs against the real thing.
package storetest

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// Run runs the whole contract. open returns a store on an empty database that is migrated; it is closed
// when the test ends.
func Run(t *testing.T, open func(t *testing.T) record.Store) {
	t.Helper()
	tests := map[string]func(*testing.T, *bench){
		"a row of every table comes back":                    testEveryTable,
		"a row comes back as it was written":                 testRoundTrip,
		"absent fields are null and empty tags stay empty":   testNulls,
		"any text survives":                                  testUnicode,
		"large bodies survive":                               testLargeBody,
		"a row is found by its unique fields":                testByUnique,
		"lists are ordered and cut into pages":               testPages,
		"lists filter by fields":                             testFilters,
		"lists filter by tags":                               testTags,
		"generations guard every write":                      testGenerations,
		"a row that comes back starts beyond its past":       testComeback,
		"unique values are taken once":                       testUnique,
		"unique values may change hands in one batch":        testExchange,
		"keys over several fields":                           testCompositeKeys,
		"references to missing rows are refused":             testMissingReference,
		"rows referred to cannot go":                         testDependent,
		"parents and children come and go in one batch":      testFamilies,
		"a child inserted meanwhile stops the delete":        testDeleteRace,
		"malformed batches are refused":                      testMalformed,
		"a refused batch changes nothing":                    testAtomic,
		"revisions count every batch but the silent":         testRevisions,
		"history is trimmed and says so":                     testTrim,
		"parallel writers get revisions without gaps":        testParallel,
		"one row, many writers: none is lost":                testContention,
		"a reader of the history never misses a revision":    testFollow,
		"a snapshot shows one moment":                        testSnapshot,
		"ten thousand rows in one batch":                     testBulk,
		"a bulk write is refused with the row that is wrong": testBulkRefused,
		"named values are swapped":                           testMeta,
		"the ring changes by its head":                       testKeyring,
		"rings are apart":                                    testKeyringRings,
		"malformed changes of the ring are refused":          testKeyringMalformed,
		"one change of the ring follows another":             testKeyringRace,
		"leases are written over and age":                    testLeases,
		"leases are dropped by node and by age":              testLeasesDropped,
		"the journal is read in both orders":                 testAudit,
		"a place in the journal is taken once":               testAuditCollisions,
		"thousands of entries of the journal at once":        testAuditBulk,
		"who asks for secrets gets little else":              testSecretsAlone,
		"rows are sealed anew in their place":                testReseal,
		"any text may take the place of a sealed one":        testResealTexts,
		"malformed reseals are refused":                      testResealMalformed,
		"thousands of rows are sealed anew at once":          testResealBulk,
		"sealing anew never undoes a write":                  testResealBeside,
		"a key that was taken out of use seals no more":      testKeyTakenOutOfUse,
		"writers beside a key that is taken out of use":      testKeyTakenOutOfUseBeside,
		"sealed rows are counted by table and key":           testCountSealed,
		"the database tells marks as programs do":            testMarks,
		"many sealed rows are counted exactly":               testCountMany,
		"data planes are noted and forgotten":                testNodes,
		"raw rows show what is stored":                       testRaw,
		"a caller who gives up is let go":                    testCancelled,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newBench(t, open))
		})
	}
}

// bench is a store with one workspace to work in.
type bench struct {
	record.Store
	workspace string
}

func newBench(t *testing.T, open func(t *testing.T) record.Store) *bench {
	t.Helper()
	b := &bench{Store: open(t), workspace: newID()}
	b.apply(t, insert(record.Row{
		Table: "workspaces", ID: b.workspace, Unique: map[string]string{"name": "first"}, Body: []byte(`{}`),
	}))
	return b
}

func newID() string { return uuid.NewString() }

// id is the same id for the same number, ordered by it.
func id(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func (b *bench) consumer(id, username string) record.Row {
	return record.Row{
		Table: "consumers", Workspace: b.workspace, ID: id,
		Unique: map[string]string{"username": username}, Body: []byte(`{"username":"` + username + `"}`),
	}
}

func (b *bench) service(id string) record.Row {
	return record.Row{Table: "services", Workspace: b.workspace, ID: id, Body: []byte(`{}`)}
}

func (b *bench) route(id, service string) record.Row {
	return record.Row{
		Table: "routes", Workspace: b.workspace, ID: id,
		Foreign: map[string]string{"service": service}, Body: []byte(`{}`),
	}
}

func (b *bench) credential(id, consumer, username string) record.Row {
	return record.Row{
		Table: "basicauth_credentials", Workspace: b.workspace, ID: id,
		Unique: map[string]string{"username": username}, Foreign: map[string]string{"consumer": consumer},
		Sealed: map[string]string{"password": "$ke$1$00000000-aa-bb"}, Body: []byte(`{"username":"` + username + `"}`),
	}
}

func insert(row record.Row) record.Change { return record.Change{Row: row} }

func update(row record.Row, expect uint64) record.Change {
	return record.Change{Row: row, Expect: expect}
}

func remove(row record.Row) record.Change {
	return record.Change{Row: row, Delete: true, Expect: row.Generation}
}

func batch(changes ...record.Change) record.Batch { return record.Batch{Changes: changes} }

func (b *bench) apply(t *testing.T, changes ...record.Change) uint64 {
	t.Helper()
	revision, err := b.Apply(t.Context(), batch(changes...))
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// stored reads a row that must exist.
func (b *bench) stored(t *testing.T, row record.Row) record.Row {
	t.Helper()
	found, err := b.Get(t.Context(), row.Table, row.Workspace, row.ID)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (b *bench) head(t *testing.T) uint64 {
	t.Helper()
	head, err := b.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return head
}

func expectKind(t *testing.T, err error, want fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != want {
		t.Errorf("the error is %v, want kind %v", err, want)
	}
}

// same compares but for the generation, which the store assigns.
func same(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(record.Row{}, "Generation")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
