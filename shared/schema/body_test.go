package schema_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/shared/schema"
)

func TestParseJSON(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body string
		want schema.Document // nil: refused
	}{
		"exact integers":  {`{"a":9007199254740993}`, schema.Document{"a": json.Number("9007199254740993")}},
		"the last counts": {`{"a":1,"a":"x"}`, schema.Document{"a": "x"}},
		"a list":          {`[1]`, nil},
		"null":            {`null`, nil},
		"text":            {`"a"`, nil},
		"nothing":         {``, nil},
		"more":            {`{} {}`, nil},
		"rest":            {`{}x`, nil},
		"cut":             {`{"a":`, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := schema.ParseJSON([]byte(test.body))
			if test.want == nil {
				if !errors.Is(err, schema.ErrJSON) || err.Error() != "Cannot parse JSON body" {
					t.Fatalf("ParseJSON = %v, %v", got, err)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestParseForm(t *testing.T) {
	t.Parallel()
	n := func(text string) any { return json.Number(text) }
	tests := map[string]struct {
		table, body string
		want        schema.Document
	}{
		"types":               {"services", "host=h&port=80&enabled=false&name=12", schema.Document{"host": "h", "port": n("80"), "enabled": false, "name": "12"}},
		"not a type":          {"services", "port=eighty&enabled=yes&retries=0x10", schema.Document{"port": "eighty", "enabled": "yes", "retries": "0x10"}},
		"empty is null":       {"services", "path=&tags=&port=", schema.Document{"path": nil, "tags": nil, "port": nil}},
		"empty, unknown":      {"services", "nope=", schema.Document{"nope": ""}},
		"lone value":          {"services", "tags=a", schema.Document{"tags": []any{"a"}}},
		"commas stay":         {"services", "tags=a,b", schema.Document{"tags": []any{"a,b"}}},
		"repeated":            {"services", "tags=a&tags=b", schema.Document{"tags": []any{"a", "b"}}},
		"repeated scalar":     {"services", "host=a&host=b", schema.Document{"host": []any{"a", "b"}}},
		"brackets":            {"services", "tags[]=a&tags[]=b", schema.Document{"tags": []any{"a", "b"}}},
		"escaped brackets":    {"services", "tags%5B%5D=a&tags%5b%5d=b", schema.Document{"tags": []any{"a", "b"}}},
		"indexes":             {"services", "tags[2]=b&tags[1]=a", schema.Document{"tags": []any{"a", "b"}}},
		"gaps close":          {"services", "tags[1000000000]=b&tags[3]=a", schema.Document{"tags": []any{"a", "b"}}},
		"a dot is a map key":  {"services", "tags.1=a", schema.Document{"tags": map[string]any{"1": "a"}}},
		"foreign":             {"routes", "service.name=s&paths[]=/a+b", schema.Document{"service": map[string]any{"name": "s"}, "paths": []any{"/a b"}}},
		"no foreign":          {"routes", "service=", schema.Document{"service": nil}},
		"map":                 {"routes", "headers[x-a]=1&headers.x-b[]=2", schema.Document{"headers": map[string]any{"x-a": []any{"1"}, "x-b": []any{"2"}}}},
		"records in a set":    {"routes", "sources[1].ip=10.0.0.1&sources[1].port=80&sources[2].port=81", schema.Document{"sources": []any{map[string]any{"ip": "10.0.0.1", "port": n("80")}, map[string]any{"port": n("81")}}}},
		"nested":              {"upstreams", "name=u&healthchecks.active.timeout=1.5&healthchecks.active.healthy.http_statuses[]=200", schema.Document{"name": "u", "healthchecks": map[string]any{"active": map[string]any{"timeout": n("1.5"), "healthy": map[string]any{"http_statuses": []any{n("200")}}}}}},
		"plugin":              {"plugins", "config.key_names=a&config.key_in_body=true&name=key-auth", schema.Document{"name": "key-auth", "config": map[string]any{"key_names": []any{"a"}, "key_in_body": true}}},
		"config is text":      {"plugins", "name=key-auth&config=bar", schema.Document{"name": "key-auth", "config": "bar"}},
		"equals in the value": {"consumers", "username=a=b&&custom_id=c%26d", schema.Document{"username": "a=b", "custom_id": "c&d"}},
		"broken brackets":     {"consumers", "username[=a", schema.Document{"username[": "a"}},
		"transient":           {"certificates", "snis=a.com&snis=b.com", schema.Document{"snis": []any{"a.com", "b.com"}}},
		"Kong's credential":   {"basicauth_credentials", "username=Aladdin&password=OpenSesame", schema.Document{"username": "Aladdin", "password": "OpenSesame"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSchema()
			got, err := s.ParseForm(entity(t, s, test.table), []byte(test.body))
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestParseFormRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body string
		want error
	}{
		"many":            {strings.Repeat("tags[]=a&", 1001), schema.ErrTooManyArguments},
		"bad escape":      {"host=%zz", schema.ErrForm},
		"bad escape, key": {"ho%st=a", schema.ErrForm},
		"value and map":   {"host=a&host.b=c", schema.ErrForm},
		"map and value":   {"host.b=c&host=a", schema.ErrForm},
		"list and map":    {"tags[]=c&tags.x=a", schema.ErrForm},
		"no name":         {"=a", schema.ErrForm},
		"deep":            {strings.Repeat("a.", 40) + "b=c", schema.ErrForm},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSchema()
			if got, err := s.ParseForm(entity(t, s, "services"), []byte(test.body)); !errors.Is(err, test.want) {
				t.Errorf("ParseForm = %v, %v, want %v", got, err, test.want)
			}
		})
	}
	s := newSchema()
	if _, err := s.ParseForm(entity(t, s, "services"), []byte(strings.Repeat("tags[]=a&", 1000))); err != nil {
		t.Errorf("1000 arguments: %v", err)
	}
}

func TestParseMultipart(t *testing.T) {
	t.Parallel()
	s := newSchema()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	file, err := w.CreateFormFile("cert", "../ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = file.Write([]byte("PEM\nPEM"))
	_ = w.WriteField("snis[]", "a.com")
	_ = w.Close()
	e := entity(t, s, "certificates")
	got, err := s.ParseMultipart(e, body.Bytes(), w.Boundary())
	want := schema.Document{"cert": "PEM\nPEM", "snis": []any{"a.com"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := s.ParseMultipart(e, body.Bytes()[:body.Len()-20], w.Boundary()); !errors.Is(err, schema.ErrForm) {
		t.Errorf("a cut body: %v", err)
	}
}

// FuzzBuild: whatever comes in, it is refused in words or it is a row that storage keeps as it is.
func FuzzBuild(f *testing.F) {
	f.Add("services", []byte(`{"url":"http://h:1/p","tags":["a"],"port":1e2}`))
	f.Add("routes", []byte(`{"paths":["~/(a)"],"headers":{"x":["1"]},"sources":[{"port":1}]}`))
	f.Add("plugins", []byte(`{"name":"key-auth","config":{"key_names":["a"]},"consumer":null}`))
	f.Add("upstreams", []byte(`{"name":"u","hash_on":"header","healthchecks":{"threshold":1.5}}`))
	f.Add("keyauth_credentials", []byte(`{"consumer":{"id":"`+someID+`"},"ttl":9}`))
	f.Add("targets", []byte(`{"target":"a:1","created_at":1.0015}`))
	s := newSchema()
	f.Fuzz(func(t *testing.T, table string, body []byte) {
		e, found := s.Entity(table)
		doc, err := schema.ParseJSON(body)
		if !found || err != nil {
			return
		}
		roundTrip(t, s, e, doc)
	})
}

// FuzzParseForm: as FuzzBuild, for forms.
func FuzzParseForm(f *testing.F) {
	f.Add("services", []byte("host=h&tags[]=a&tags[2]=b&path="))
	f.Add("routes", []byte("headers[x-a]=1&sources[1].ip=1.1.1.1&service.name=s&service.id="))
	f.Add("plugins", []byte("name=key-auth&config.key_names=a&config%5Brealm%5D=b"))
	s := newSchema()
	f.Fuzz(func(t *testing.T, table string, body []byte) {
		e, found := s.Entity(table)
		if !found {
			return
		}
		doc, err := s.ParseForm(e, body)
		if err != nil {
			return
		}
		roundTrip(t, s, e, doc)
	})
}
