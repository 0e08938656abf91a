// Package plugins lists the plugins of this build: their configuration messages and where they stand in the
// chain. What a plugin does is dataplane/plugin's.
package plugins

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
	"github.com/keepgate/keepgate/shared/schema"
)

// All lists every plugin. Adding one is one line here, one message and one folder in dataplane/plugin.
func All() []schema.Plugin {
	return []schema.Plugin{
		of(&pluginv1.Acl{}),
		of(&pluginv1.BasicAuth{}),
		of(&pluginv1.CorrelationId{}),
		of(&pluginv1.Cors{}),
		of(&pluginv1.FileLog{}),
		of(&pluginv1.HttpLog{}),
		of(&pluginv1.IpRestriction{}),
		of(&pluginv1.Jwt{}),
		of(&pluginv1.KeyAuth{}),
		of(&pluginv1.KvmLookup{}),
		of(&pluginv1.MtlsAuth{}),
		of(&pluginv1.Prometheus{}),
		of(&pluginv1.ProxyCache{}),
		of(&pluginv1.RateLimiting{}),
		of(&pluginv1.RequestSizeLimiting{}),
		of(&pluginv1.RequestTermination{}),
		of(&pluginv1.RequestTransformer{}),
		of(&pluginv1.ResponseTransformer{}),
	}
}

// of reads what the message's option says. It panics on a message without one: that is a line above, not input.
func of(config proto.Message) schema.Plugin {
	t := config.ProtoReflect().Type()
	marks, _ := proto.GetExtension(t.Descriptor().Options(), schemav1.E_Plugin).(*schemav1.Plugin)
	if marks == nil {
		panic(fmt.Sprintf("%s is not marked as a plugin", t.Descriptor().FullName()))
	}
	return schema.Plugin{
		Name: marks.GetName(), Version: marks.GetVersion(), Priority: int(marks.GetPriority()),
		Protocols: marks.GetProtocols(), NoConsumer: marks.GetNoConsumer(), Config: t,
	}
}
