package plugintest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

// Config returns the bytes that a Kind gets for a configuration in JSON, defaults filled in.
func Config(t testing.TB, name, json string) []byte {
	t.Helper()
	g := &Gate{t: t, schema: schema.New(plugins.All()), Origin: &Origin{URL: "http://127.0.0.1:1"}, key: make([]byte, 32), hashes: map[string]string{}}
	for e := range g.Set(fmt.Sprintf("plugins: [{name: %s, config: %s}]", name, json)).All() {
		if e.Kind == "plugins" {
			var m configv1.Plugin
			if err := proto.Unmarshal(e.Body, &m); err != nil {
				t.Fatal(err)
			}
			return m.GetConfig()
		}
	}
	t.Fatal("no plugin in the configuration")
	return nil
}

// Env is what an instance is compiled for in tests that need no gate.
func Env() plugin.Env {
	return plugin.Env{ID: "11111111-2222-4333-8444-555555555555", Slot: plugin.SlotOf(0)}
}

// refusesBytes gives New bytes that are no message, and any bytes.
func (p Plugin) refusesBytes(t *testing.T) {
	for name, config := range map[string][]byte{
		"a field cut off": {0x0A, 0x7F, 'x'}, "no tag": {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
		"field number 0": {0x00}, "text": []byte("not a message"), "JSON": []byte(`{"a":1}`),
	} {
		if made, err := p.Kind.New(config, Env()); err == nil {
			t.Errorf("%s: made a %T", name, made)
		}
	}
	valid := Config(t, p.Kind.Name(), p.Config)
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		config := bytes.Clone(valid)
		for range 1 + random.IntN(3) {
			if len(config) == 0 {
				config = append(config, 0)
			}
			switch at := random.IntN(len(config)); random.IntN(3) {
			case 0:
				config[at] = byte(random.Uint32())
			case 1:
				config = config[:at]
			default:
				config = append(config[:at:at], append([]byte{byte(random.Uint32())}, config[at:]...)...)
			}
		}
		TryNew(t, p.Kind, config)
	}
}

// TryNew makes an instance of any bytes, as a fuzz target does, and checks what is made.
func TryNew(t testing.TB, kind plugin.Kind, config []byte) {
	t.Helper()
	given := bytes.Clone(config)
	made, err := kind.New(config, Env())
	if !bytes.Equal(config, given) {
		t.Errorf("New changed the configuration %x", given)
	}
	if err == nil && !takesPart(made) {
		t.Errorf("%x made a %T, which has no phase", given, made)
	}
	if err != nil && err.Error() == "" {
		t.Errorf("%x is refused without a reason", given)
	}
}

func takesPart(instance any) bool {
	switch instance.(type) {
	case plugin.Accesser, plugin.Responder, plugin.Bodier, plugin.Logger:
		return true
	}
	return false
}

func (p Plugin) takesPart(t *testing.T) {
	made, err := p.Kind.New(Config(t, p.Kind.Name(), p.Config), Env())
	if err != nil {
		t.Fatal(err)
	}
	if !takesPart(made) {
		t.Errorf("%T has no phase", made)
	}
}

// label marks what the plugins of a test start.
const label = "plugintest"

func (g *Gate) label() pprof.LabelSet { return pprof.Labels(label, fmt.Sprintf("%p", g)) }

// left shows the goroutines that the plugins of a gate have started and that have not ended in good time.
func (g *Gate) left() string {
	for until := time.Now().Add(patience / 3); ; time.Sleep(5 * time.Millisecond) {
		stacks := labelled(fmt.Sprintf("%p", g))
		if stacks == "" || time.Now().After(until) {
			return stacks
		}
	}
}

// labelled returns the stacks of the goroutines that bear the label. A goroutine inherits it from the one that starts it.
func labelled(value string) string {
	var all bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&all, 1)
	var found []string
	for one := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(one, fmt.Sprintf("%q:%q", label, value)) {
			found = append(found, one)
		}
	}
	return strings.Join(found, "\n\n")
}

func (p Plugin) startsNothing(t *testing.T) {
	config := Config(t, p.Kind.Name(), p.Config)
	value := "new " + t.Name() + reflect.TypeOf(p.Kind).String()
	pprof.Do(t.Context(), pprof.Labels(label, value), func(context.Context) {
		if _, err := p.Kind.New(config, Env()); err != nil {
			t.Fatal(err)
		}
	})
	if stacks := labelled(value); stacks != "" {
		t.Errorf("New starts goroutines:\n%s", stacks)
	}
}
