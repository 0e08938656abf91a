package kvmlookup_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/kvm"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/plugin/kvmlookup"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

// While an entry cannot be read nobody goes on as if there were none, whatever is to happen without one; and a request that was
// refused has lost what the client claimed.
func TestWhatCannotBeReadIsNotMissing(t *testing.T) {
	t.Parallel()
	kind := kvmlookup.New()
	id, name, key, value := "m", "m", "there", "v"
	for missing, status := range map[string]int{"refuse": 404, "skip": 0, "default": 0} {
		for _, lost := range []bool{false, true} {
			maps := kvm.New(slices.Values([]*configv1.KeyValueMap{{Id: &id, Name: &name}}),
				slices.Values([]*configv1.KeyValueEntry{{Id: &id, Map: &configv1.Ref{Id: id}, Key: &key, Value: &value}}))
			if lost {
				maps.Lose(&configv1.KeyValueEntry{}, func(...protoreflect.Name) bool { return false })
			}
			runtime := plugin.NewRuntime(nil, nil)
			runtime.Maps = maps
			made, err := kind.New(plugintest.Config(t, "kvm-lookup", `{"map":"m","header":"X-Value","key_from":"header","key_name":"X-Key","on_missing":"`+missing+`","default_value":"d"}`), plugin.Env{})
			if err != nil {
				t.Fatal(err)
			}
			for asked, want := range map[string]int{"there": 0, "lost": status} {
				if lost && asked == "lost" {
					want = 503
				}
				ex := new(exchange.Exchange)
				ex.NeedSlots(runtime.Slots)
				ex.Request.Header.Add("X-Key", asked)
				ex.Request.Header.Add("x_value", "mine")
				made.(plugin.Accesser).Access(ex, &runtime)
				if ex.Response.Status != want || ex.Request.Header.Has("x_value") {
					t.Errorf("%s, %s, lost: %v: %d, %v", missing, asked, lost, ex.Response.Status, ex.Request.Header)
				}
			}
		}
	}
}

// Configurations that the schema would not let through are refused here too: a value may have come by a reference, and bytes
// may be another's.
func TestRefusedConfigurations(t *testing.T) {
	t.Parallel()
	text := func(s string) *string { return &s }
	for what, change := range map[string]func(c *pluginv1.KvmLookup){
		"a header of the message":     func(c *pluginv1.KvmLookup) { c.Header = text("Content-Length") },
		"who the client is":           func(c *pluginv1.KvmLookup) { c.Header = text("x_consumer_id") },
		"no header":                   func(c *pluginv1.KvmLookup) { c.Header = text("a b") },
		"no map":                      func(c *pluginv1.KvmLookup) { c.Map = nil },
		"no key":                      func(c *pluginv1.KvmLookup) { c.KeyName = nil },
		"a key from nowhere":          func(c *pluginv1.KvmLookup) { c.KeyFrom = text("body") },
		"a key from no header":        func(c *pluginv1.KvmLookup) { c.KeyFrom, c.KeyName = text("header"), text("a b") },
		"nothing known to do":         func(c *pluginv1.KvmLookup) { c.OnMissing = text("pass") },
		"a refusal that is none":      func(c *pluginv1.KvmLookup) { c.ErrorCode = new(int64(200)) },
		"no default":                  func(c *pluginv1.KvmLookup) { c.OnMissing = text("default") },
		"a default with a line break": func(c *pluginv1.KvmLookup) { c.OnMissing, c.DefaultValue = text("default"), text("a\r\nb: c") },
		"":                            func(*pluginv1.KvmLookup) {},
	} {
		c := &pluginv1.KvmLookup{
			Map: text("m"), Header: text("X-Value"), KeyFrom: text("literal"), KeyName: text("k"), OnMissing: text("refuse"), ErrorCode: new(int64(404)),
		}
		change(c)
		body, err := proto.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = kvmlookup.New().New(body, plugintest.Env()); (err == nil) != (what == "") {
			t.Errorf("%q: %v", what, err)
		}
	}
}
