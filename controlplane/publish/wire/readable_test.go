package wire

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

func TestWhatIsReadableOfAPluginSaysWhereItStands(t *testing.T) {
	t.Parallel()
	w := Wire{schema: schema.New(plugins.All())}
	plugin := &configv1.Plugin{Id: new("p"), Name: new("key-auth"), Route: &configv1.Ref{Id: "r"}, Config: []byte("CANARY")}
	body := w.readable(plugin)
	var back configv1.Plugin
	if err := proto.Unmarshal(body, &back); err != nil {
		t.Fatal(err)
	}
	if back.GetName() != "key-auth" || back.GetRoute().GetId() != "r" || bytes.Contains(body, []byte("CANARY")) {
		t.Error("it says something else")
	}
	if entry := w.readable(&configv1.KeyValueEntry{Id: new("e"), Key: new("where"), Value: new("CANARY")}); !bytes.Contains(entry, []byte("where")) || bytes.Contains(entry, []byte("CANARY")) {
		t.Error("an entry that does not open tells of its value, or not of its key")
	}
	if w.readable(nil) != nil || w.readable(&configv1.KeyauthCredential{Id: new("k")}) != nil {
		t.Error("something is said of what a data plane needs nothing of")
	}
}
