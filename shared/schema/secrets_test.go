package schema_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
	"github.com/keepgate/keepgate/shared/schema"
)

// secretive is a plugin with a secret wherever a configuration can have one: at the top, in an array, in a map,
// in a record, in records of a list.
func secretive(t testing.TB) schema.Plugin {
	t.Helper()
	const pkg, values = ".test.secretive.", ".keepgate.config.v1."
	field := func(number int32, name, message string, marks *schemav1.Field) *descriptorpb.FieldDescriptorProto {
		options := &descriptorpb.FieldOptions{}
		proto.SetExtension(options, schemav1.E_Field, marks)
		f := &descriptorpb.FieldDescriptorProto{
			Name: &name, Number: &number, Options: options,
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
		}
		if message != "" {
			f.TypeName, f.Type = &message, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum()
		}
		return f
	}
	message := func(name string, fields ...*descriptorpb.FieldDescriptorProto) *descriptorpb.DescriptorProto {
		m := &descriptorpb.DescriptorProto{Name: &name}
		for i, f := range fields {
			if f.GetType() == descriptorpb.FieldDescriptorProto_TYPE_STRING {
				f.Proto3Optional, f.OneofIndex = proto.Bool(true), proto.Int32(int32(len(m.OneofDecl)))
				m.OneofDecl = append(m.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: proto.String("_" + fields[i].GetName())})
			}
			m.Field = append(m.Field, f)
		}
		return m
	}
	secret := &schemav1.Field{Encrypted: true}
	list := message("Jwks", field(1, "values", pkg+"Jwk", &schemav1.Field{}))
	list.Field[0].Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	list.Options = &descriptorpb.MessageOptions{}
	proto.SetExtension(list.Options, schemav1.E_Collection, schemav1.Collection_COLLECTION_ARRAY)
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("test/secretive.proto"), Package: proto.String("test.secretive"), Syntax: proto.String("proto3"),
		Dependency: []string{"keepgate/config/v1/values.proto", "keepgate/schema/v1/schema.proto"},
		MessageType: []*descriptorpb.DescriptorProto{
			message("Redis", field(1, "username", "", &schemav1.Field{}), field(2, "password", "", secret)),
			message("Jwk", field(1, "kid", "", &schemav1.Field{}), field(2, "k", "", secret)),
			list,
			message("Config",
				field(1, "http_endpoint", "", &schemav1.Field{Encrypted: true, Referenceable: true}),
				field(2, "client_id", values+"StringArray", secret),
				field(3, "headers", values+"StringMap", &schemav1.Field{Elements: secret}),
				field(4, "redis", pkg+"Redis", &schemav1.Field{}),
				field(5, "client_jwk", pkg+"Jwks", &schemav1.Field{}),
				field(6, "public", values+"StringArray", &schemav1.Field{})),
		},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return schema.Plugin{
		Name: "secretive", Protocols: []string{"http"},
		Config: dynamicpb.NewMessageType(file.Messages().ByName(protoreflect.Name("Config"))),
	}
}

func TestSecretsOfAPlugin(t *testing.T) {
	t.Parallel()
	s := schema.New([]schema.Plugin{secretive(t)})
	m := insert(t, s, "plugins", `{"name":"secretive","config":{"http_endpoint":"s1","client_id":["s2","s3"],"headers":{"a":"s4"},
		"redis":{"username":"u","password":"s5"},"client_jwk":[{"kid":"x","k":"s6"},{"kid":"y"}],"public":["p"]}}`)
	e := s.EntityOf(m)
	clear := proto.Clone(m)
	seen := map[string][]string{}
	seal := func(field, value string) (string, error) {
		seen[field] = append(seen[field], value)
		return "sealed-" + value, nil
	}
	if err := s.Secrets(e, m, seal); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"config.http_endpoint": {"s1"}, "config.client_id": {"s2", "s3"}, "config.headers": {"s4"},
		"config.redis.password": {"s5"}, "config.client_jwk.k": {"s6"},
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("visited (-want +got):\n%s", diff)
	}
	storesExactly(t, s, e, m)
	body := string(s.EncodeStored(e, m))
	for _, plain := range []string{`"s1"`, `"s2"`, `"s3"`, `"s4"`, `"s5"`, `"s6"`} {
		if strings.Contains(body, plain) {
			t.Errorf("%s lies in clear: %s", plain, body)
		}
	}
	open := func(_, value string) (string, error) { return strings.TrimPrefix(value, "sealed-"), nil }
	if err := s.Secrets(e, m, open); err != nil || !proto.Equal(clear, m) {
		t.Errorf("opened again: %v, equal %t", err, proto.Equal(clear, m))
	}
	stop := errors.New("no key")
	for field := range want {
		err := s.Secrets(e, proto.Clone(m), func(at, value string) (string, error) {
			if at == field {
				return "", stop
			}
			return value, nil
		})
		if !errors.Is(err, stop) {
			t.Errorf("an error at %s is lost: %v", field, err)
		}
	}
}

// TestNestedDefaultsShow: a record in a plugin's configuration is there although it is not required.
func TestNestedDefaultsShow(t *testing.T) {
	t.Parallel()
	s := schema.New([]schema.Plugin{secretive(t)})
	m := insert(t, s, "plugins", `{"name":"secretive"}`)
	config, _ := shown(t, s, m)["config"].(map[string]any)
	if diff := cmp.Diff(any(map[string]any{"username": nil, "password": nil}), config["redis"]); diff != "" {
		t.Errorf("redis (-want +got):\n%s", diff)
	}
}

func TestIDAndTags(t *testing.T) {
	t.Parallel()
	s := newSchema()
	e := entity(t, s, "consumers")
	with := insert(t, s, "consumers", `{"id":"`+someID+`","username":"a","tags":["x","y"]}`)
	without := insert(t, s, "consumers", `{"username":"a"}`)
	if e.ID(with) != someID || !cmp.Equal(e.Tags(with), []string{"x", "y"}) || e.Tags(without) != nil {
		t.Errorf("%s %v %v", e.ID(with), e.Tags(with), e.Tags(without))
	}
}
