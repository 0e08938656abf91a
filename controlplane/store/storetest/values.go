package storetest

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

func testMeta(t *testing.T, b *bench) {
	if _, found, err := b.Meta(t.Context(), "epoch"); found || err != nil {
		t.Errorf("found %t, %v", found, err)
	}
	one, two := "1", "2"
	expectKind(t, b.SwapMeta(t.Context(), "epoch", &one, two), fault.Conflict)
	if err := b.SwapMeta(t.Context(), "epoch", nil, one); err != nil {
		t.Fatal(err)
	}
	err := b.SwapMeta(t.Context(), "epoch", nil, two)
	expectKind(t, err, fault.Conflict)
	if fault.SubjectOf(err) != "meta/epoch" {
		t.Errorf("the subject is %q", fault.SubjectOf(err))
	}
	if err := b.SwapMeta(t.Context(), "epoch", &one, two); err != nil {
		t.Fatal(err)
	}
	expectKind(t, b.SwapMeta(t.Context(), "epoch", &one, "3"), fault.Conflict)
	if value, found, err := b.Meta(t.Context(), "epoch"); value != two || !found || err != nil {
		t.Errorf("%q, %t, %v", value, found, err)
	}
	var won atomic.Int32
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			switch err := b.SwapMeta(t.Context(), "leader", nil, "me"); {
			case err == nil:
				won.Add(1)
			case fault.KindOf(err) != fault.Conflict:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of %d won", won.Load(), writers)
	}
}

func testNodes(t *testing.T, b *bench) {
	for n, seen := range map[int]int64{1: 100, 2: 200} {
		node := record.Node{ID: id(n), Organisation: "default", Environment: "prod", Seen: seen - 50, Body: []byte(`{"a":1}`)}
		for range 2 {
			if err := b.PutNode(t.Context(), node); err != nil {
				t.Fatal(err)
			}
			node.Seen = seen
		}
	}
	nodes, err := b.Nodes(t.Context())
	if err != nil || len(nodes) != 2 || nodes[0].Seen != 100 || string(nodes[1].Body) != `{"a":1}` || nodes[1].Environment != "prod" {
		t.Errorf("%+v, %v", nodes, err)
	}
	if err := b.ForgetNodes(t.Context(), 200); err != nil {
		t.Fatal(err)
	}
	if nodes, err = b.Nodes(t.Context()); err != nil || len(nodes) != 1 || nodes[0].ID != id(2) {
		t.Errorf("%+v, %v", nodes, err)
	}
}

func testRaw(t *testing.T, b *bench) {
	consumer := b.consumer(newID(), "ann")
	credential := b.credential(newID(), consumer.ID, "ann")
	b.apply(t, insert(consumer), insert(credential))
	columns, values, err := b.Raw(t.Context(), "basicauth_credentials", credential.ID)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	for i, column := range columns {
		shown[column] = values[i]
	}
	if shown["password"] != credential.Sealed["password"] || shown["consumer_id"] != consumer.ID || shown["body"] != string(credential.Body) {
		t.Errorf("%v", shown)
	}
	if slices.Index(columns, "id") != 0 || shown["id"] != credential.ID || shown["password_check"] != "" {
		t.Errorf("%v", columns)
	}
	_, _, err = b.Raw(t.Context(), "basicauth_credentials", newID())
	expectKind(t, err, fault.NotFound)
	_, _, err = b.Raw(t.Context(), "sqlite_schema", newID())
	expectKind(t, err, fault.Invalid)
	if err == nil || !strings.Contains(err.Error(), ", keyring_keys, ") || !strings.Contains(err.Error(), ", services, ") {
		t.Errorf("Raw = %v, want the tables there are", err)
	}
}
