package compile

import (
	"testing"

	"google.golang.org/protobuf/proto"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// FuzzSalvage: whatever the bytes, what is salvaged can be encoded again; of what decodes nothing is lost.
func FuzzSalvage(f *testing.F) {
	for _, m := range []proto.Message{
		&configv1.Route{Name: new("n"), Paths: &configv1.StringArray{Values: []string{"/a", "~/b"}}, Hosts: &configv1.StringArray{Values: []string{"h"}}},
		&configv1.Route{Headers: &configv1.HeaderMap{}, RegexPriority: new(int64(-1)), Service: &configv1.Ref{Id: "s"}},
	} {
		body, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
		f.Add(body[:len(body)-1])
		f.Add(append(body, 0xFF))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := salvage(body, &configv1.Route{})
		if _, err := proto.Marshal(s.message); err != nil {
			t.Fatalf("what was salvaged does not encode: %v", err)
		}
		var all configv1.Route
		if proto.Unmarshal(body, &all) != nil {
			return
		}
		if !s.whole || len(s.lost) > 0 || !proto.Equal(&all, s.message) {
			t.Fatalf("whole %v, lost %v, though it decodes", s.whole, s.lost)
		}
	})
}
