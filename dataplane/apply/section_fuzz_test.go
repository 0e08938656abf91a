package apply

import (
	"testing"

	"google.golang.org/protobuf/proto"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// FuzzField: any bytes are looked through, and of those that are a message the fields are found that it has.
func FuzzField(f *testing.F) {
	id := "m"
	body, err := proto.Marshal(&configv1.KeyValueEntry{Id: &id, Map: &configv1.Ref{Id: id}, Key: &id, Value: &id})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte{0x2a, 0x7f, 1})
	f.Add([]byte{0x2b, 0x2c})
	f.Fuzz(func(t *testing.T, body []byte) {
		reference, found := field(body, mapField)
		var m configv1.KeyValueEntry
		if proto.Unmarshal(body, &m) != nil {
			return
		}
		if found != (m.GetMap() != nil) {
			t.Fatalf("%x: a map is found: %v", body, found)
		}
		if _, there := field(reference, idField); found && !there && m.GetMap().GetId() != "" {
			t.Fatalf("%x: its id is not found", body)
		}
	})
}
