package jsonobject_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/dataplane/jsonobject"
)

func TestMembers(t *testing.T) {
	t.Parallel()
	const text = ` { "a" : 1.0e+2 , "b":[1, {"a":"}"}] ,"\u0061":true,"é\"":null, "s":"x\\\"" } `
	for name, test := range map[string]struct {
		change func(*jsonobject.Object) bool
		want   string
	}{
		"nothing":             {func(*jsonobject.Object) bool { return true }, `{"a":1.0e+2,"b":[1, {"a":"}"}],"\u0061":true,"é\"":null,"s":"x\\\""}`},
		"remove all of one":   {func(o *jsonobject.Object) bool { return o.Remove("a") }, `{"b":[1, {"a":"}"}],"é\"":null,"s":"x\\\""}`},
		"remove none":         {func(o *jsonobject.Object) bool { return !o.Remove("A") }, `{"a":1.0e+2,"b":[1, {"a":"}"}],"\u0061":true,"é\"":null,"s":"x\\\""}`},
		"rename over":         {func(o *jsonobject.Object) bool { return o.Rename(`é"`, "a") }, `{"b":[1, {"a":"}"}],"s":"x\\\"","a":null}`},
		"rename none":         {func(o *jsonobject.Object) bool { return !o.Rename("x", "a") && o.Remove("s") && o.Remove("b") }, `{"a":1.0e+2,"\u0061":true,"é\"":null}`},
		"rename to itself":    {func(o *jsonobject.Object) bool { return !o.Rename("b", "b") && o.Remove("a") }, `{"b":[1, {"a":"}"}],"é\"":null,"s":"x\\\""}`},
		"replace all":         {func(o *jsonobject.Object) bool { return o.Replace("a", []byte("7")) }, `{"a":7,"b":[1, {"a":"}"}],"é\"":null,"s":"x\\\""}`},
		"replace none":        {func(o *jsonobject.Object) bool { return !o.Replace("z", []byte("7")) && o.Remove("a") }, `{"b":[1, {"a":"}"}],"é\"":null,"s":"x\\\""}`},
		"add":                 {func(o *jsonobject.Object) bool { return o.Remove("a") && o.Add("a\n", []byte("7")) }, `{"b":[1, {"a":"}"}],"é\"":null,"s":"x\\\"","a\u000a":7}`},
		"add what is there":   {func(o *jsonobject.Object) bool { return !o.Add(`é"`, []byte("7")) && o.Remove("a") }, `{"b":[1, {"a":"}"}],"é\"":null,"s":"x\\\""}`},
		"append to an array":  {func(o *jsonobject.Object) bool { o.Append("b", []byte("7")); return o.Remove("a") }, `{"b":[1, {"a":"}"},7],"é\"":null,"s":"x\\\""}`},
		"append to a value":   {func(o *jsonobject.Object) bool { o.Append("s", []byte("7")); return o.Remove("a") }, `{"b":[1, {"a":"}"}],"é\"":null,"s":["x\\\"",7]}`},
		"append to nothing":   {func(o *jsonobject.Object) bool { o.Append("n", []byte("7")); return o.Remove("a") }, `{"b":[1, {"a":"}"}],"é\"":null,"s":"x\\\"","n":[7]}`},
		"append to the first": {func(o *jsonobject.Object) bool { o.Append("a", []byte("7")); return o.Remove("b") }, `{"a":[1.0e+2,7],"é\"":null,"s":"x\\\""}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var o jsonobject.Object
			if err := o.Parse([]byte(text)); err != nil {
				t.Fatal(err)
			}
			if !test.change(&o) {
				t.Error("said otherwise")
			}
			got := string(o.Encode(nil))
			if diff := cmp.Diff(test.want, got); diff != "" || !json.Valid([]byte(got)) {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		"": jsonobject.ErrJSON, "{": jsonobject.ErrJSON, `{"a":1}x`: jsonobject.ErrJSON, `{'a':1}`: jsonobject.ErrJSON, "\xEF\xBB\xBF{}": jsonobject.ErrJSON,
		"[1]": jsonobject.ErrOther, `"{}"`: jsonobject.ErrOther, " null ": jsonobject.ErrOther, "{}": nil, " { } ": nil, `{"":{}}`: nil,
	} {
		var o jsonobject.Object
		if err := o.Parse([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

func TestMembersAreBounded(t *testing.T) {
	t.Parallel()
	const member = `"":0,`
	for n, want := range map[int]error{jsonobject.MaxMembers - 1: nil, jsonobject.MaxMembers: jsonobject.ErrMany} {
		var o jsonobject.Object
		if err := o.Parse([]byte("{" + strings.Repeat(member, n) + `"":0}`)); !errors.Is(err, want) {
			t.Errorf("%d members: %v", n+1, err)
		}
	}
}

func TestEmptyArray(t *testing.T) {
	t.Parallel()
	var o jsonobject.Object
	if err := o.Parse([]byte(`{"a":[ ]}`)); err != nil {
		t.Fatal(err)
	}
	o.Append("a", []byte("1"))
	if got := string(o.Encode(nil)); got != `{"a":[1]}` {
		t.Error(got)
	}
}

// FuzzObject: whatever encoding/json takes for an object is taken apart and put together as the same, and a name that was removed is
// found by nobody.
func FuzzObject(f *testing.F) {
	f.Add(`{"a":1,"b":[{"a":"\\\""}],"\u0061":2}`, "a", "v")
	f.Add(` { } `, "", "\x00\xff")
	f.Add(`{"a":{"b":[[],"]"]}, "c" : -0.5E-7}`, "c", `"`)
	f.Add("[1]", "x", "y")
	f.Fuzz(func(t *testing.T, text, name, value string) {
		var want map[string]any
		isObject := json.Unmarshal([]byte(text), &want) == nil && want != nil
		var o jsonobject.Object
		if err := o.Parse([]byte(text)); (err == nil) != isObject {
			t.Fatalf("%q: %v", text, err)
		} else if err != nil {
			return
		}
		same := func(want map[string]any) {
			t.Helper()
			got := map[string]any{}
			written := o.Encode(nil)
			if err := json.Unmarshal(written, &got); err != nil {
				t.Fatalf("%q became %q: %v", text, written, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%q became %q: %s", text, written, diff)
			}
		}
		same(want)
		quoted := jsonobject.Quote(nil, value)
		var back string
		if err := json.Unmarshal(quoted, &back); err != nil || back != string([]rune(value)) {
			t.Fatalf("%q is quoted as %q: %v", value, quoted, err)
		}
		if name != string([]rune(name)) || text != string([]rune(text)) {
			return // not UTF-8: encoding/json takes such names for others
		}
		o.Remove(name)
		delete(want, name)
		same(want)
		o.Add(name, quoted)
		want[name] = back
		same(want)
		o.Append(name, quoted)
		want[name] = []any{back, back}
		same(want)
		o.Replace(name, []byte("1"))
		o.Rename(name, name+"x")
		delete(want, name)
		want[name+"x"] = 1.0
		same(want)
	})
}
