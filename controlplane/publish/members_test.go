package publish

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/publish/versions/versionstest"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

// Who is in which group, and what tokens are verified with, reaches data planes; the latter under the key for credentials.
func TestGroupsAndTokenSecretsTravel(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.checks("jwt")
	e.insert("consumers", `{"username":"bob"}`)
	e.insert("consumer_groups", `{"name":"gold"}`)
	e.insert("consumer_group_consumers", `{"consumer":{"username":"bob"},"consumer_group":{"name":"gold"}}`)
	e.insertBelow("consumers", "bob", "jwt_secrets", `{"key":"issuer","secret":"CANARY-secret"}`)
	e.insertBelow("consumers", "bob", "acls", `{"group":"staff"}`)
	e.run()
	first := e.caughtUp()
	snapshot, err := first.Snapshot()
	e.must(err)
	all, _ := versionstest.Unpack(t, snapshot)
	s := schema.New(plugins.All())
	classes := map[string]schemav1.DataClass{}
	for _, entry := range all.Puts {
		if entity, ok := s.Entity(entry.Kind); ok {
			classes[entry.Kind] = entity.DataClass
		}
		switch entry.Kind {
		case "jwt_secrets":
			var m configv1.JwtSecret
			e.must(proto.Unmarshal(entry.Body, &m))
			if m.GetSecret() != "CANARY-secret" || m.GetAlgorithm() != "HS256" || m.GetConsumer().GetId() == "" {
				t.Error("a token's secret does not travel as it is")
			}
		case "consumer_group_consumers":
			var m configv1.ConsumerGroupMember
			e.must(proto.Unmarshal(entry.Body, &m))
			if m.GetConsumer().GetId() != id(e, first.Set, "consumers") || m.GetConsumerGroup().GetId() != id(e, first.Set, "consumer_groups") {
				t.Error("the member is of others")
			}
		default:
			if bytes.Contains(entry.Body, []byte("CANARY")) {
				t.Errorf("the secret travels in %s too", entry.Kind)
			}
		}
	}
	want := map[string]schemav1.DataClass{
		"consumers": schemav1.DataClass_DATA_CLASS_CONTRACT, "consumer_groups": schemav1.DataClass_DATA_CLASS_CONTRACT,
		"consumer_group_consumers": schemav1.DataClass_DATA_CLASS_CONTRACT,
		"jwt_secrets":              schemav1.DataClass_DATA_CLASS_KMS, "acls": schemav1.DataClass_DATA_CLASS_KMS,
	}
	for kind, class := range want {
		if classes[kind] != class {
			t.Errorf("%s travels as %v, want %v", kind, classes[kind], class)
		}
	}
	e.delete("consumers", "bob")
	second := e.caughtUp()
	delta, err := second.DeltaFrom(first)
	e.must(err)
	changed, _ := versionstest.Unpack(t, delta)
	gone := map[string]bool{}
	for _, entry := range changed.Deletes {
		gone[entry.Kind] = true
	}
	for _, kind := range []string{"consumers", "consumer_group_consumers", "jwt_secrets", "acls"} {
		if !gone[kind] {
			t.Errorf("%s of a deleted consumer stay: %v", kind, gone)
		}
	}
}
