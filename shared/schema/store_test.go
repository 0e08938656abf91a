package schema_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// roundTrip builds a document and holds the row to its promises.
func roundTrip(t testing.TB, s *schema.Schema, e *schema.Entity, doc schema.Document) {
	t.Helper()
	m, err := s.Build(e, nil, doc, schema.Insert, nil)
	if err != nil {
		if v, ok := errors.AsType[*schema.Violations](err); !ok || v.Message() == "" || len(v.Fields()) == 0 {
			t.Fatalf("refused without a word: %v", err)
		}
		return
	}
	storesExactly(t, s, e, m)
	again, err := s.Document(e, m)
	if err != nil {
		t.Fatal(err)
	}
	rebuilt, err := s.Build(e, nil, again, schema.Insert, nil)
	if err != nil {
		t.Fatalf("a row is refused as its own document: %v", err)
	}
	if !s.Same(e, m, rebuilt) {
		t.Fatal("a row's document builds another row")
	}
	if _, err := schema.ParseJSON(s.Encode(e, m)); err != nil {
		t.Fatalf("Encode writes no JSON: %s", s.Encode(e, m))
	}
}

func storesExactly(t fataler, s *schema.Schema, e *schema.Entity, m proto.Message) {
	t.Helper()
	want := proto.Clone(m)
	r := want.ProtoReflect()
	for _, f := range e.Fields {
		if f.Visibility == schema.Transient || f.Visibility == schema.Wire {
			r.Clear(r.Descriptor().Fields().ByName(protoreflect.Name(f.Name)))
		}
	}
	body := s.EncodeStored(e, m)
	got, err := s.DecodeStored(e, body)
	if err != nil {
		t.Fatalf("DecodeStored: %v\n%s", err, body)
	}
	s.SetColumns(e, got, s.Columns(e, m))
	if !proto.Equal(want, got) {
		t.Fatalf("%s is not what it was after storage:\n%s\n%s", e.Table, body, s.EncodeStored(e, got))
	}
}

// fataler is what *testing.T and *rapid.T have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// TestStorageIsExact stores random messages, also such as Build would refuse.
func TestStorageIsExact(t *testing.T) {
	t.Parallel()
	s := newSchema()
	rapid.Check(t, func(t *rapid.T) {
		e := rapid.SampledFrom(s.Entities()).Draw(t, "entity")
		m := e.New()
		populate(t, s, m.ProtoReflect(), e.Table)
		storesExactly(t, s, e, m)
	})
}

// populate sets a random choice of fields to random values.
func populate(t *rapid.T, s *schema.Schema, m protoreflect.Message, path string) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		label := path + "." + string(fd.Name())
		if !rapid.Bool().Draw(t, label+" set") {
			continue
		}
		switch {
		case fd.IsMap():
			for range rapid.IntRange(0, 2).Draw(t, label) {
				key := protoreflect.ValueOfString(rapid.String().Draw(t, label+" key")).MapKey()
				m.Mutable(fd).Map().Set(key, random(t, s, fd.MapValue(), m.Mutable(fd).Map().NewValue, label))
			}
		case fd.IsList():
			for range rapid.IntRange(0, 2).Draw(t, label) {
				m.Mutable(fd).List().Append(random(t, s, fd, m.Mutable(fd).List().NewElement, label))
			}
		case fd.Kind() == protoreflect.BytesKind: // a plugin's configuration
			name := rapid.SampledFrom(append(s.Plugins(), "unknown")).Draw(t, "plugin")
			m.Set(fields.ByName("name"), protoreflect.ValueOfString(name))
			config := []byte("\x0a\x01x")
			if p, found := s.Plugin(name); found {
				message := p.Config.New()
				populate(t, s, message, name)
				config, _ = proto.MarshalOptions{Deterministic: true}.Marshal(message.Interface())
			}
			m.Set(fd, protoreflect.ValueOfBytes(config))
		case string(fd.Name()) == "name" && path == "plugins":
		default:
			m.Set(fd, random(t, s, fd, func() protoreflect.Value { return m.NewField(fd) }, label))
		}
	}
}

func random(t *rapid.T, s *schema.Schema, fd protoreflect.FieldDescriptor, fresh func() protoreflect.Value, label string) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(rapid.String().Draw(t, label))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(rapid.Int64().Draw(t, label))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(rapid.Float64().Draw(t, label))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(t, label))
	}
	v := fresh()
	populate(t, s, v.Message(), label)
	return v
}

func TestUnknownPluginSurvives(t *testing.T) {
	t.Parallel()
	s := newSchema()
	e := entity(t, s, "plugins")
	body := []byte(`{"id":"` + someID + `","name":"later","config":{"b":[1,{"c":null}],"a":"$ke$1$"},"protocols":["http"],"enabled":true}`)
	m, err := s.DecodeStored(e, body)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Secrets(e, m, func(string, string) (string, error) { return "", errors.New("visited") }); err != nil {
		t.Errorf("Secrets: %v", err)
	}
	want := `{"id":"` + someID + `","name":"later","config":{"a":"$ke$1$","b":[1,{"c":null}]},"protocols":["http"],"enabled":true}`
	if got := string(s.EncodeStored(e, m)); got != want {
		t.Errorf("stored again as\n\t%s\nwant\n\t%s", got, want)
	}
	storesExactly(t, s, e, m)
}

func TestStoredBodyGrowsWithTheSchema(t *testing.T) {
	t.Parallel()
	s := newSchema()
	e := entity(t, s, "services")
	m, err := s.DecodeStored(e, []byte(`{"id":"`+someID+`","host":"h","port":null,"from_the_future":[1]}`))
	if err != nil {
		t.Fatal(err)
	}
	got := m.(*configv1.Service)
	if got.GetRetries() != 5 || !got.GetEnabled() {
		t.Error("a field that the body lacks has not its default")
	}
	if got.Port != nil {
		t.Error("null became the default")
	}
}

func TestDecodeStoredRefuses(t *testing.T) {
	t.Parallel()
	s := newSchema()
	for name, body := range map[string]string{
		"no JSON": `{`, "a wrong kind": `{"host":1}`, "a wrong element": `{"tags":[1]}`, "a wrong record": `{"client_certificate":1}`,
	} {
		if _, err := s.DecodeStored(entity(t, s, "services"), []byte(body)); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestColumns(t *testing.T) {
	t.Parallel()
	s := newSchema()
	key := insert(t, s, "keyauth_credentials", `{"id":"`+otherID+`","consumer":{"id":"`+someID+`"},"key":"hunter2"}`)
	plugin := insert(t, s, "plugins", `{"name":"key-auth","service":{"id":"`+someID+`"}}`)
	tests := map[string]struct{ got, want map[string]string }{
		"sealed":           {s.Columns(s.EntityOf(key), key), map[string]string{"key": "hunter2"}},
		"unique secret":    {s.UniqueValues(s.EntityOf(key), key), map[string]string{"key_fingerprint": "hunter2"}},
		"foreign":          {s.ForeignValues(s.EntityOf(key), key), map[string]string{"consumer_id": someID}},
		"unique together":  {s.UniqueValues(s.EntityOf(plugin), plugin), map[string]string{"unique_name_route_service_consumer_consumer_group": `["key-auth",null,"` + someID + `",null,null]`}},
		"foreign, partial": {s.ForeignValues(s.EntityOf(plugin), plugin), map[string]string{"service_id": someID}},
	}
	for name, test := range tests {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if body := string(s.EncodeStored(s.EntityOf(key), key)); strings.Contains(body, "hunter2") {
		t.Errorf("the body holds the secret: %s", body)
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	s := newSchema()
	m := insert(t, s, "basicauth_credentials", `{"consumer":{"id":"`+someID+`"},"username":"u","password":"p"}`).(*configv1.BasicauthCredential)
	m.PasswordCheck = proto.String("c")
	e := s.EntityOf(m)
	var seen []string
	err := s.Secrets(e, m, func(field, value string) (string, error) {
		seen = append(seen, field+"="+value)
		return "sealed " + value, nil
	})
	if err != nil || !cmp.Equal(seen, []string{"password=p", "password_check=c"}) || m.GetPassword() != "sealed p" || m.GetUsername() != "u" {
		t.Errorf("%v, seen %v", err, seen)
	}
	stop := errors.New("no key")
	if err := s.Secrets(e, m, func(string, string) (string, error) { return "", stop }); !errors.Is(err, stop) {
		t.Errorf("error = %v", err)
	}
}

func TestWireKeepsSecretsAtHome(t *testing.T) {
	t.Parallel()
	s := newSchema()
	password := insert(t, s, "basicauth_credentials", `{"consumer":{"id":"`+someID+`"},"username":"u","password":"the hash"}`).(*configv1.BasicauthCredential)
	password.PasswordCheck = proto.String("the check")
	key := insert(t, s, "keyauth_credentials", `{"consumer":{"id":"`+someID+`"},"key":"hunter2","ttl":9}`).(*configv1.KeyauthCredential)
	key.Fingerprints = []string{"f1"}
	got := &configv1.BasicauthCredential{}
	unmarshal(t, s, password, got)
	if got.PasswordCheck != nil || got.GetPassword() != "the hash" {
		t.Error("the check left, or the hash did not")
	}
	sent := &configv1.KeyauthCredential{}
	unmarshal(t, s, key, sent)
	if sent.Key != nil || len(sent.GetFingerprints()) != 1 || sent.ExpiresAt == nil {
		t.Error("the key left, or its fingerprint or its end did not")
	}
	if key.GetKey() != "hunter2" {
		t.Error("Wire changed the row")
	}
}

func unmarshal(t *testing.T, s *schema.Schema, from, into proto.Message) {
	t.Helper()
	data, err := s.Wire(s.EntityOf(from), from)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func TestConflictsInKongsWords(t *testing.T) {
	t.Parallel()
	s := newSchema()
	consumer := insert(t, s, "consumers", `{"username":"dup"}`)
	key := insert(t, s, "keyauth_credentials", `{"consumer":{"id":"`+someID+`"},"key":"hunter2"}`)
	plugin := insert(t, s, "plugins", `{"name":"basic-auth","service":{"id":"`+someID+`"}}`)
	tests := map[string]struct {
		v       *schema.Violations
		code    int
		message string
	}{
		"name": {s.UniqueViolation(s.EntityOf(consumer), consumer, "username"), 5, `UNIQUE violation detected on '{username="dup"}'`},
		"key":  {s.UniqueViolation(s.EntityOf(key), key, "key_fingerprint"), 5, `UNIQUE violation detected on '{key="REDACTED"}'`},
		"scope": {
			s.UniqueViolation(s.EntityOf(plugin), plugin, "unique_name_route_service_consumer_consumer_group"), 5,
			`UNIQUE violation detected on '{consumer=null,name="basic-auth",route=null,service={id="` + someID + `"}}'`,
		},
		"id":       {schema.PrimaryKeyViolation(someID), 3, `primary key violation on key '{id="` + someID + `"}'`},
		"foreign":  {schema.ForeignKeyViolation("service", "services", someID), 4, `the foreign key '{id="` + someID + `"}' does not reference an existing 'services' entity.`},
		"referred": {schema.ReferencedViolation("services", "routes"), 4, "an existing 'routes' entity references this 'services' entity"},
		"field":    {schema.FieldViolation("protocols", "x"), 2, "schema violation (protocols: x)"},
		"whole":    {schema.FieldViolation("", "x"), 2, "schema violation (x)"},
	}
	for name, test := range tests {
		if test.v.Code() != test.code || test.v.Message() != test.message || len(test.v.Fields()) == 0 {
			t.Errorf("%s: %d %s, want %d %s", name, test.v.Code(), test.v.Message(), test.code, test.message)
		}
	}
	odd := schema.LuaTable(map[string]any{"a-b": "x\"y\\z\n", "l": []any{nil, "b"}, "m": []any{int64(1), true}})
	if want := `{["a-b"]="x\"y\\z\n",l={[2]="b"},m={1,true}}`; odd != want {
		t.Errorf("LuaTable = %s, want %s", odd, want)
	}
}

func BenchmarkRow(b *testing.B) {
	s := newSchema()
	m := insert(b, s, "routes", `{"name":"r","paths":["/a/b"],"methods":["GET"],"hosts":["example.com"],"service":{"id":"`+someID+`"}}`)
	e := s.EntityOf(m)
	doc, err := s.Document(e, m)
	if err != nil {
		b.Fatal(err)
	}
	body := s.EncodeStored(e, m)
	for name, run := range map[string]func() error{
		"Build":        func() error { _, err := s.Build(e, nil, doc, schema.Insert, nil); return err },
		"Encode":       func() error { s.Encode(e, m); return nil },
		"EncodeStored": func() error { s.EncodeStored(e, m); return nil },
		"DecodeStored": func() error { _, err := s.DecodeStored(e, body); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := run(); err != nil {
					b.Fatal(fmt.Errorf("%s: %w", name, err))
				}
			}
		})
	}
}
