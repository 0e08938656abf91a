package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/record"
)

func (b *bench) counted(t *testing.T) []record.SealedCount {
	t.Helper()
	counts, err := b.CountSealed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byTable(counts)
	return counts
}

func byTable(counts []record.SealedCount) {
	slices.SortFunc(counts, func(a, b record.SealedCount) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Key, b.Key))
	})
}

func (b *bench) plugin(body string) record.Row {
	return record.Row{Table: "plugins", Workspace: b.workspace, ID: newID(), Body: []byte(body)}
}

func testCountSealed(t *testing.T, b *bench) {
	if counts := b.counted(t); len(counts) != 0 {
		t.Fatalf("nothing is sealed, but: %v", counts)
	}
	consumer := b.consumer(newID(), sealed("posing00", "00")) // a name is no secret
	certificate := func(values map[string]string) record.Change {
		return insert(record.Row{Table: "certificates", Workspace: b.workspace, ID: newID(), Sealed: values, Body: []byte(`{"cert":"` + sealed("posing00", "0") + `"}`)})
	}
	one, two := sealed("key00001", "00"), sealed("key00002", "00")
	b.apply(t, insert(consumer),
		certificate(nil),
		certificate(map[string]string{"key": one}),
		certificate(map[string]string{"key": one, "key_alt": one}),
		certificate(map[string]string{"key": one, "key_alt": two}),
		certificate(map[string]string{"key": "-----BEGIN", "key_alt": two}),
		certificate(map[string]string{"key": "", "key_alt": "$ke"}),
		insert(b.plugin(`{"config":{"a":"`+one+`","list":["`+one+`","`+two+`"]}}`)),
		insert(b.plugin(`{"config":{"a":"`+two+`"}}`)),
		insert(b.plugin(`{"config":{"a":"plain"},"b":"not `+one+`"}`)),
		insert(b.plugin(`{"config":{"a":"$ke$1$-short","b":"$ke$1$-key00003","c":"$KE$1$-KEY00003-00"}}`)),
	)
	want := []record.SealedCount{
		{Table: "certificates", Key: "", Rows: 2},
		{Table: "certificates", Key: "key00001", Rows: 3},
		{Table: "certificates", Key: "key00002", Rows: 2},
		{Table: "plugins", Key: "key00001", Rows: 1},
		{Table: "plugins", Key: "key00002", Rows: 2},
	}
	if diff := gocmp.Diff(want, b.counted(t)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// testCountMany compares counts of many rows under many keys with counts of our own.
func testCountMany(t *testing.T, b *bench) {
	random := rand.New(rand.NewPCG(1, 2))
	value := func(keys map[string]bool) string {
		switch n := random.IntN(12); n {
		case 0:
			keys[""] = true
			return "plain"
		default:
			key := fmt.Sprintf("key%05d", n)
			keys[key] = true
			return sealed(key, fmt.Sprint(n))
		}
	}
	want := map[record.SealedCount]int{}
	consumer := b.consumer(newID(), "ann")
	changes := []record.Change{insert(consumer)}
	for n := range 600 {
		keys := map[string]bool{}
		row := b.credential(newID(), consumer.ID, fmt.Sprint(n))
		row.Sealed = map[string]string{"password": value(keys)}
		if n%3 == 0 {
			row.Sealed["password_check"] = value(keys)
		}
		if n%4 == 0 {
			row = b.plugin("")
			keys = map[string]bool{}
			row.Body = fmt.Appendf(nil, `{"config":["%s","%s"]}`, value(keys), value(keys))
			delete(keys, "") // what is not sealed in a body nobody sees
		}
		for key := range keys {
			want[record.SealedCount{Table: row.Table, Key: key}]++
		}
		changes = append(changes, insert(row))
	}
	b.apply(t, changes...)
	var list []record.SealedCount
	for count, rows := range want {
		count.Rows = rows
		list = append(list, count)
	}
	byTable(list)
	if diff := gocmp.Diff(list, b.counted(t)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
