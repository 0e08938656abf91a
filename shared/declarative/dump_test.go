package declarative_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/shared/declarative"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

const sample = header + `
_workspace: team
services:
- name: svc1
  url: http://example.com:8080/base
  retries: null
  routes:
  - name: r1
    paths: [/a]
    headers: {x-a: ["on", "1"]}
    plugins: [{name: key-auth, config: {key_names: [a]}}]
  plugins: [{name: basic-auth, key_value_maps: [{name: limits}]}]
  key_value_maps: [{name: limits, tags: [x], entries: [{key: a/b, value: "on"}, {key: "1", value: "x: {y}"}]}]
key_value_maps: [{name: limits, entries: [{key: free, value: "10"}]}]
routes: [{name: r2, paths: [/b]}]
upstreams: [{name: up1, targets: [{target: 10.0.0.1, weight: 10}]}]
consumers:
- username: bob
  custom_id: "0123"
  basicauth_credentials: [{username: "yes", password: "a: b"}]
  keyauth_credentials: [{key: k1, ttl: 100}]
  jwt_secrets: [{key: issuer, secret: s}]
  acls: [{group: staff}]
  mtls_auth_credentials: [{subject_name: bob.example}]
  groups: [{name: gold}, {name: silver}]
- username: al
consumer_groups:
- {name: silver, consumers: [{username: al}, bob], plugins: [{name: request-termination}]}
- name: gold
plugins: [{name: request-termination, config: {message: "line one\nline two"}}]
`

func rowsOf(t *testing.T, s *schema.Schema, file *declarative.File) []proto.Message {
	t.Helper()
	rows := make([]proto.Message, len(file.Entities))
	for i, en := range file.Entities {
		e, _ := s.Entity(en.Table)
		var err error
		if rows[i], err = s.Build(e, nil, en.Document, schema.Replace, nil); err != nil {
			t.Fatalf("%s: %v", en.Path, err)
		}
	}
	return rows
}

func TestDumpReadsBack(t *testing.T) {
	t.Parallel()
	for name, nested := range map[string]bool{"flat": false, "nested": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // the time of creation is part of the file
				s := schema.New(plugins.All())
				file, err := declarative.Parse(s, "a", []byte(sample))
				if err != nil {
					t.Fatal(err)
				}
				rows := rowsOf(t, s, file)
				var text bytes.Buffer
				options := declarative.Options{Nested: nested, Workspace: file.Workspace}
				if err := declarative.Dump(&text, s, rows, options); err != nil {
					t.Fatal(err)
				}
				golden(t, "dump."+name+".yaml", text.Bytes())
				again, err := declarative.Parse(s, "b", text.Bytes())
				if err != nil {
					t.Fatal(err)
				}
				if again.Transform || again.Workspace != "team" {
					t.Errorf("options = %+v", again)
				}
				byID := map[string]proto.Message{}
				for _, m := range rowsOf(t, s, again) {
					byID[s.EntityOf(m).ID(m)] = m
				}
				for _, m := range rows {
					e := s.EntityOf(m)
					if other := byID[e.ID(m)]; other == nil || !proto.Equal(m, other) {
						t.Errorf("%s is not the same after a dump:\n%s", e.Table, s.Encode(e, m))
					}
				}
			})
		})
	}
}

// What a row is used with is said in it; what it ends with is said by where it stands.
func TestCredentialsStandBelowTheirConsumers(t *testing.T) {
	t.Parallel()
	s := schema.New(plugins.All())
	const consumer, authority = "c0ffee00-0000-4000-8000-000000000001", "c0ffee00-0000-4000-8000-000000000002"
	var rows []proto.Message
	for table, doc := range map[string]schema.Document{
		"consumers": {"id": consumer, "username": "al"},
		"mtls_auth_credentials": {
			"subject_name": "al.example", "consumer": map[string]any{"id": consumer}, "ca_certificate": map[string]any{"id": authority},
		},
	} {
		e, _ := s.Entity(table)
		m, err := s.Build(e, nil, doc, schema.Insert, nil)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, m)
	}
	var text bytes.Buffer
	if err := declarative.Dump(&text, s, rows, declarative.Options{Nested: true}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\n    mtls_auth_credentials:\n", "\n        ca_certificate: " + authority + "\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, &text)
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got), UPDATE_GOLDEN=1 writes it anew:\n%s", path, diff)
	}
}

// TestDumpedStringsReadBack: whatever a name or a message holds, YAML neither changes it nor its type.
func TestDumpedStringsReadBack(t *testing.T) {
	t.Parallel()
	s := schema.New(plugins.All())
	e, _ := s.Entity("plugins")
	texts := rapid.OneOf(
		rapid.StringN(1, 40, -1),
		rapid.SampledFrom([]string{"yes", "0x1f", "1e3", "~", "- a", "a: b", "a #b", "2001-01-01", "a\nb\n", "a\n b", " a", "\ufeffx", "\u2028", "\x7f", "&a", "*a", "!x"}),
	)
	rapid.Check(t, func(t *rapid.T) {
		text := texts.Draw(t, "text")
		doc := schema.Document{"name": "request-termination", "config": map[string]any{"message": text}}
		m, err := s.Build(e, nil, doc, schema.Insert, nil)
		if err != nil {
			t.Skip("refused") // NUL
		}
		var dump bytes.Buffer
		if err := declarative.Dump(&dump, s, []proto.Message{m}, declarative.Options{}); err != nil {
			t.Fatal(err)
		}
		file, err := declarative.Parse(s, "x", dump.Bytes())
		if err != nil {
			t.Fatalf("%v\n%q", err, dump.String())
		}
		config, _ := file.Entities[0].Document["config"].(map[string]any)
		if config["message"] != text {
			t.Fatalf("%q became %q", text, config["message"])
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"_format_version": "3.0", "services": [{"host": "h", "routes": [{"paths": ["/a"]}]}]}`))
	f.Add([]byte(header + "a: &a [*a]\nservices: [<<: [*a, *a]]"))
	f.Add([]byte(header + "routes: [{service: {id: 1}}, {service: [x]}, null, ~]"))
	s := schema.New(plugins.All())
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := declarative.Parse(s, "fuzz", text)
		if err != nil {
			problems, ok := err.(*declarative.Problems)
			if !ok || len(problems.List) == 0 || problems.Message() == "" {
				t.Fatalf("error %v says nothing", err)
			}
			return
		}
		rows := make([]proto.Message, len(file.Entities))
		for i, en := range file.Entities {
			e, _ := s.Entity(en.Table)
			if rows[i], err = s.Build(e, nil, en.Document, schema.Replace, nil); err != nil {
				t.Fatalf("%s was accepted and cannot be built: %v", en.Path, err)
			}
		}
		var dump bytes.Buffer
		if err := declarative.Dump(&dump, s, rows, declarative.Options{Nested: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := declarative.Parse(s, "again", dump.Bytes()); err != nil {
			t.Fatalf("the dump does not parse: %v\n%s", err, dump.Bytes())
		}
	})
}
