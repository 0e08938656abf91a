package acl_test

import (
	"iter"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

type fieldName = protoreflect.Name

func noEntities(string) iter.Seq2[string, proto.Message] {
	return func(func(string, proto.Message) bool) {}
}
