package keyauth

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/jsonobject"
)

func TestKeysInJSON(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body  string
		value string
		count int
	}{
		"text":         {`{"a":1,"apikey":"k"}`, "k", 1},
		"escaped":      {`{"apikey":"k\u0065y"}`, "key", 1},
		"escaped name": {`{"\u0061pikey":"k"}`, "k", 1},
		"absent":       {`{"a":{"apikey":"k"}}`, "", 0},
		"number":       {`{"apikey":1}`, "", 0},
		"null":         {`{"apikey":null}`, "", 0},
		"list":         {`{"apikey":["k"]}`, "", 2},
		"twice":        {`{"apikey":"k","apikey":"other"}`, "", 2},
	}
	for name, test := range tests {
		f := form{object: new(jsonobject.Object)}
		if err := f.object.Parse([]byte(test.body)); err != nil {
			t.Fatal(err)
		}
		if value, count := f.find("apikey"); value != test.value || count != test.count {
			t.Errorf("%s: %q %d, want %q %d", name, value, count, test.value, test.count)
		}
	}
}
