package schema

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// FuzzReadBody holds the reader of storage bodies to encoding/json.
func FuzzReadBody(f *testing.F) {
	for _, body := range []string{
		`{}`, ` { "a" : [ 1 , -2.5e+3 , true , null ] , "b" : { "c" : "\u00e9\ud83d\ude00\\" } } `, `{"a":01}`, `{"a":1.}`,
		`{"a":"` + "\x01" + `"}`, `{"a":1}}`, `{"a":[1,]}`, `{"a":+1}`, `{"a":9223372036854775808,"b":-0}`, `[1]`, `{"a":"\"`,
		strings.Repeat(`{"a":`, 200),
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := readBody(body)
		want, wantErr := ParseJSON(body)
		if err != nil {
			if wantErr == nil && utf8.Valid(body) && strings.Count(string(body), "{")+strings.Count(string(body), "[") < maxBodyDepth {
				t.Fatalf("refused: %q", body)
			}
			return
		}
		if wantErr != nil {
			t.Fatalf("accepted: %q", body)
		}
		if diff := cmp.Diff(canonical(want), canonical(got)); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", body, diff)
		}
	})
}

// canonical gives whole numbers one type.
func canonical(v any) any {
	switch v := v.(type) {
	case int64:
		return json.Number(string(appendTree(nil, v)))
	case []any:
		for i := range v {
			v[i] = canonical(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = canonical(v[key])
		}
	}
	return v
}
