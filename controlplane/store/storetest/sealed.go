package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
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
		insert(b.plugin(`{"config":{"a":"\"`+one+`","b":"\\\"k8s:enc:aesgcm:v1:posing:AA"}}`)), // in a string, after a quote
		insert(b.plugin(`{"config":{"a":"k8s:enc:","b":"k8s:enc:kms:v2:v:short","c":"k8s:enc:foo:v1:k:AA"}}`)),
		certificate(map[string]string{"key": kms2("key00001", "AAAA"), "key_alt": one}),
		insert(b.plugin(`{"config":["`+kms2("key00001", "AAAA")+`","`+one+`","k8s:enc:secretbox:v1:`+strings.Repeat("n", 64)+`:AA"]}`)),
	)
	want := []record.SealedCount{
		{Table: "certificates", Key: "", Rows: 2},
		{Table: "certificates", Key: "k8s:enc:kms:v2:vault:key00001", Rows: 1},
		{Table: "certificates", Key: "key00001", Rows: 4},
		{Table: "certificates", Key: "key00002", Rows: 2},
		{Table: "plugins", Key: "k8s:enc:kms:v2:vault:key00001", Rows: 1},
		{Table: "plugins", Key: "k8s:enc:secretbox:v1:" + strings.Repeat("n", 64), Rows: 1},
		{Table: "plugins", Key: "key00001", Rows: 2},
		{Table: "plugins", Key: "key00002", Rows: 2},
	}
	if diff := gocmp.Diff(want, b.counted(t)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// kms2 is a value of a KMS v2 provider.
func kms2(key, rest string) string { return record.KMS2Prefix + "vault:" + key + rest }

// testMarks has the database tell marks, and compares them with record.MarkOf.
func testMarks(t *testing.T, b *bench) {
	texts := []string{"", "x", "$ke", "$ke$", "$ke$1$-", "$KE$1$-key00001-", "k8s:enc", "K8S:ENC:x", sealed("key00001", ""), "$ke$1$-key00001"}
	for _, prefix := range []string{
		record.KMS2Prefix, record.KMS1Prefix, record.AESGCMPrefix, record.AESCBCPrefix, record.SecretboxPrefix, "k8s:enc:", "k8s:enc:foo:v1:", "$ke$2$-", " k8s:enc:",
	} {
		for _, rest := range []string{
			"", ":", "a", "a:", ":a", "a:b", "a:key0000", "a:key00001", "a:key00001x", "::key00001", "a:key:0001AAAA", "vault-1._:key00001AAAA",
			strings.Repeat("n", 64) + ":key00001", strings.Repeat("n", 65) + ":key00001", strings.Repeat("n", 200),
		} {
			texts = append(texts, prefix+rest)
		}
	}
	want := map[string]int{}
	var changes []record.Change
	for _, text := range texts {
		want[record.MarkOf(text)]++
		changes = append(changes, insert(record.Row{
			Table: "certificates", Workspace: b.workspace, ID: newID(), Sealed: map[string]string{"key": text}, Body: []byte(`{}`),
		}))
	}
	b.apply(t, changes...)
	got := map[string]int{}
	for _, count := range b.counted(t) {
		got[count.Key] += count.Rows
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("(-MarkOf +database)\n%s", diff)
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
			text := [...]string{
				sealed(fmt.Sprintf("key%05d", n), fmt.Sprint(n)), kms2(fmt.Sprintf("kms%05d", n), "AAAA"),
				fmt.Sprint(record.AESGCMPrefix, "key", n, ":AAAA"), fmt.Sprint(record.KMS1Prefix, "old", n, ":AAAA"),
			}[random.IntN(4)]
			keys[record.MarkOf(text)] = true
			return text
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
