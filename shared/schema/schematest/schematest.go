// Package schematest has a plugin for tests: one whose configuration holds secrets below the top level, which no
// plugin of this build has.
package schematest

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
	"github.com/keepgate/keepgate/shared/schema"
)

// Secretive is the plugin "secretive": {"endpoint": secret, "client_id": [secrets], "headers": {name: secret},
// "public": text}.
func Secretive() schema.Plugin {
	const values = ".keepgate.config.v1."
	field := func(number int32, name, message string, marks *schemav1.Field) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{
			Name: &name, Number: &number, Options: &descriptorpb.FieldOptions{},
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
		}
		proto.SetExtension(f.Options, schemav1.E_Field, marks)
		if message != "" {
			f.TypeName, f.Type = &message, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum()
		}
		return f
	}
	secret := &schemav1.Field{Encrypted: true}
	config := &descriptorpb.DescriptorProto{Name: proto.String("Config"), Field: []*descriptorpb.FieldDescriptorProto{
		field(1, "endpoint", "", secret),
		field(2, "client_id", values+"StringArray", secret),
		field(3, "headers", values+"StringMap", &schemav1.Field{Elements: secret}),
		field(4, "public", "", &schemav1.Field{}),
	}}
	for _, f := range config.Field {
		if f.TypeName != nil {
			continue
		}
		f.Proto3Optional, f.OneofIndex = proto.Bool(true), proto.Int32(int32(len(config.OneofDecl)))
		config.OneofDecl = append(config.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: proto.String("_" + f.GetName())})
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("schematest/secretive.proto"), Package: proto.String("schematest"), Syntax: proto.String("proto3"),
		Dependency:  []string{"keepgate/config/v1/values.proto", "keepgate/schema/v1/schema.proto"},
		MessageType: []*descriptorpb.DescriptorProto{config},
	}, protoregistry.GlobalFiles)
	if err != nil {
		panic(err) // the lines above are wrong
	}
	return schema.Plugin{
		Name: "secretive", Protocols: []string{"http", "https"},
		Config: dynamicpb.NewMessageType(file.Messages().ByName("Config")),
	}
}
