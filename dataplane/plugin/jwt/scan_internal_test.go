package jwt

import (
	"encoding/base64"
	"encoding/json"
	"iter"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// FuzzScan: what we read as an object encoding/json reads too, with the same members. We may refuse more: bytes that are no
// UTF-8, halves of surrogate pairs, members that are there twice, deep nesting.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		`{"iss":"a","exp":1.5e3}`, `{"\u0069ss":"\ud83d\ude00\n"}`, `{"iss":"\ud83d"}`, ` {"a":[1,{"iss":2},null,true,false],"iss":""} `, `{"iss":1,"iss":2}`,
		`{"exp":-0}`, `{"exp":01}`, `{"exp":1.}`, `{"exp":1e}`, `{"iss":"a"}x`, `{"iss":"a",}`, "{\"iss\":\"a\nb\"}", `{"iss":"\x"}`, `{}`, `[]`, `{"exp":1e999}`,
		`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var w wanted
		iss, exp := w.add("iss"), w.add("exp")
		ok := scan(new(exchange.Exchange), in, &w)
		var want map[string]any
		err := json.Unmarshal([]byte(in), &want)
		if ok && err != nil {
			t.Fatalf("%q is taken, and is no JSON: %v", in, err)
		}
		if !ok {
			plain := err == nil && want != nil && utf8.ValidString(in) && !strings.ContainsAny(in, `\[`) && strings.Count(in, "{") == 1 && strings.Count(in, `"iss"`) < 2 && strings.Count(in, `"exp"`) < 2
			if plain {
				t.Fatalf("%q is refused", in)
			}
			return
		}
		for i, name := range map[int]string{iss: "iss", exp: "exp"} {
			got := w.values[i]
			switch v := want[name].(type) {
			case string:
				if got.kind != text || got.text != v {
					t.Fatalf("%s of %q: %+v, want %q", name, in, got, v)
				}
			case float64:
				if got.kind != number || got.number != v {
					t.Fatalf("%s of %q: %+v, want %v", name, in, got, v)
				}
			case bool, []any, map[string]any:
				if got.kind != boolean && got.kind != composite {
					t.Fatalf("%s of %q: %+v, want %v", name, in, got, v)
				}
			case nil:
				if got.kind != absent && got.kind != null {
					t.Fatalf("%s of %q: %+v, want none", name, in, got)
				}
			}
		}
	})
}

// FuzzParse: whatever the token, it is taken apart or refused, and what is signed is what was sent.
func FuzzParse(f *testing.F) {
	encode := base64.RawURLEncoding.EncodeToString
	f.Add(encode([]byte(`{"alg":"HS256"}`))+"."+encode([]byte(`{"iss":"a"}`))+"."+encode([]byte("x")), "iss")
	f.Add("..", "alg")
	f.Add("a.b\n.c", "crit")
	f.Fuzz(func(t *testing.T, given, claim string) {
		var parsed token
		what := parse(new(exchange.Exchange), given, claim, &parsed)
		if what == "" && (!strings.HasPrefix(given, parsed.signed+".") || !known(parsed.algorithm) || len(parsed.signature) == 0 ||
			given != parsed.signed+"."+encode(parsed.signature)) {
			t.Fatalf("%q is taken apart to %q and %d bytes", given, parsed.signed, len(parsed.signature))
		}
	})
}

// A change of one credential parses one, and credentials at fault are named and unknown.
func TestStore(t *testing.T) {
	t.Parallel()
	secret := func(key, algorithm, shared string) *configv1.JwtSecret {
		return &configv1.JwtSecret{Key: &key, Algorithm: &algorithm, Secret: &shared, Consumer: &configv1.Ref{Id: "al"}}
	}
	all := map[string]*configv1.JwtSecret{
		"1": secret("one", "HS256", "x"), "2": secret("two", "RS256", "x"), "3": secret("three", "HS256", ""), "4": secret("one", "HS512", "y"),
		"5": secret("five", "none", "x"), "6": {Key: new("six"), Secret: new("x"), Consumer: &configv1.Ref{Id: "nobody"}}, "7": secret("", "HS256", "x"),
	}
	entities := func(string) iter.Seq2[string, proto.Message] {
		return func(yield func(string, proto.Message) bool) {
			for _, id := range []string{"1", "2", "3", "4", "5", "6", "7"} {
				if !yield(id, all[id]) {
					return
				}
			}
		}
	}
	k := New()
	consumers := plugin.NewConsumers([]*plugin.Consumer{{ID: "al"}})
	faults := map[string]string{}
	report := func(_, id, _, reason string) { faults[id] = reason }
	first := k.Store(entities, consumers, report).(store)
	if len(first) != 1 || first["one"].id != "1" || len(faults) != 6 {
		t.Errorf("%d credentials, faults %v", len(first), faults)
	}
	all["4"] = secret("four", "HS512", "y")
	second := k.Store(entities, consumers, report).(store)
	if second["one"].parsed != first["one"].parsed || second["four"] == nil {
		t.Error("an unchanged credential is parsed again, or a new one is not there")
	}
}

func BenchmarkHS256(b *testing.B) {
	shared := "a-shared-secret"
	p := parseCredential(&configv1.JwtSecret{Secret: &shared})
	ex := new(exchange.Exchange)
	given := "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJpc3N1ZXIiLCJleHAiOjE4OTM0NTYwMDB9.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	b.ReportAllocs()
	for b.Loop() {
		var parsed token
		if what := parse(ex, given, "iss", &parsed); what != "" || p.plain.verify(parsed.signed, parsed.signature) {
			b.Fatal(what)
		}
		ex.Reset()
	}
}
