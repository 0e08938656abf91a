package keys

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/schema"
)

// FuzzBodies reads bodies as the standard library's readers do.
func FuzzBodies(f *testing.F) {
	for _, body := range []string{
		"", "id=a&data=b", "id=a+b%2B%2f&&data", "id=1&id=2", "%69d=x", "id=%zz", "id=%2", "id;data=1", "=x", "other=1", "id=\xff",
		`{"id":"a","data":"\u0041\n"}`, `{"id":null}`, `{"id":1.50,"data":true}`, `{"id":{}}`, `{"id":"a","id":"b"}`, `{"id":"a"} x`, `null`, `[]`, `{"ID":"a"}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		formLikeURL(t, body)
		jsonLikeSchema(t, body)
	})
}

func formLikeURL(t *testing.T, body string) {
	a := arguments{[]string{"id", "data"}, map[string][]byte{}}
	err := a.form([]byte(body))
	want, wantErr := url.ParseQuery(body)
	known := true
	for name := range want {
		known = known && slices.Contains(a.names, name)
	}
	if refused := wantErr != nil || !known || strings.Count(body, "&") >= schema.MaxArguments; refused != (err != nil) {
		t.Fatalf("form %q = %v, want %v, known %t", body, err, wantErr, known)
	}
	for _, name := range a.names {
		if value, given := a.values[name]; err == nil && (given != want.Has(name) || string(value) != want.Get(name)) {
			t.Fatalf("%s of form %q is %q, want %q", name, body, value, want.Get(name))
		}
	}
}

func jsonLikeSchema(t *testing.T, body string) {
	a := arguments{[]string{"id", "data"}, map[string][]byte{}}
	err := a.json([]byte(body))
	want, wantErr := schema.ParseJSON([]byte(body))
	if wantErr != nil && err == nil {
		t.Fatalf("JSON %q was taken", body)
	}
	if err != nil {
		return
	}
	for name, value := range want {
		if text, isText := value.(string); isText && string(a.values[name]) != text {
			t.Fatalf("%s of JSON %q is %q, want %q", name, body, a.values[name], text)
		}
	}
	for name := range a.values {
		if _, given := want[name]; !given {
			t.Fatalf("JSON %q gave %s", body, name)
		}
	}
}
