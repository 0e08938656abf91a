package plugins_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

func TestEveryPluginMessageIsListed(t *testing.T) {
	t.Parallel()
	all := plugins.All()
	protoregistry.GlobalTypes.RangeMessages(func(typ protoreflect.MessageType) bool {
		marks, _ := proto.GetExtension(typ.Descriptor().Options(), schemav1.E_Plugin).(*schemav1.Plugin)
		if marks != nil && !slices.ContainsFunc(all, func(p schema.Plugin) bool { return p.Name == marks.GetName() }) {
			t.Errorf("%s is marked as plugin %q but not listed", typ.Descriptor().FullName(), marks.GetName())
		}
		return true
	})
}

func TestPluginsStandWhereKongPutsThem(t *testing.T) {
	t.Parallel()
	want := map[string]int{
		"cors": 2000, "mtls-auth": 1600, "jwt": 1450, "key-auth": 1250, "basic-auth": 1100, "ip-restriction": 990, "request-size-limiting": 951,
		"acl": 950, "rate-limiting": 910, "kvm-lookup": 805, "request-transformer": 801, "response-transformer": 800, "proxy-cache": 100, "prometheus": 13, "http-log": 12, "file-log": 9,
		"request-termination": 2, "correlation-id": 100001,
	}
	for _, p := range plugins.All() {
		if p.Priority != want[p.Name] {
			t.Errorf("%s has priority %d, want %d", p.Name, p.Priority, want[p.Name])
		}
		if len(p.Protocols) == 0 || p.Version == "" {
			t.Errorf("%s lacks protocols or a version: %v %q", p.Name, p.Protocols, p.Version)
		}
	}
}
