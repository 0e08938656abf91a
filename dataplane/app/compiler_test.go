package app

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/dns"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/plugin/all"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
	"github.com/keepgate/keepgate/shared/configset"
)

// A kept plugin serves in its last form, which is sound here; what was never held is reported, and so is a last form that
// is not sound.
func TestKeptEntriesAreCompiledInTheirLastForm(t *testing.T) {
	t.Parallel()
	body := func(m proto.Message) []byte {
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	config := body(&pluginv1.KeyAuth{KeyNames: &configv1.StringArray{Values: []string{"apikey"}}})
	sound := body(&configv1.Plugin{Id: new("p"), Name: new("key-auth"), Config: config})
	tests := map[string]struct {
		entry configset.Entry
		want  int // quarantined
	}{
		"published":           {configset.Entry{Body: sound}, 0},
		"kept":                {configset.Entry{Kept: true, Last: sound}, 0},
		"kept, with a shell":  {configset.Entry{Kept: true, Body: []byte{0xff}, Last: sound}, 0},
		"kept in a bad form":  {configset.Entry{Kept: true, Body: sound, Last: []byte{0xff}}, 1},
		"kept and never held": {configset.Entry{Kept: true, Body: sound}, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pools := upstream.NewPools(&wire.Blocks{}, client.Options{})
			var log bytes.Buffer
			compiler := tableCompiler{
				compiler: compile.New(all.Kinds(all.Options{}), balancer.Settings{Names: dns.NewNames(dns.NewResolver(dns.Options{}), dns.NameOptions{})},
					pools, compile.Options{}),
				tables: table.NewHolder(), pools: pools, log: slog.New(slog.NewTextHandler(&log, nil)),
			}
			test.entry.Kind, test.entry.ID = "plugins", "p"
			install, quarantined := compiler.Compile(configset.Set{}.Put(test.entry))
			install()
			if len(quarantined) != test.want {
				t.Errorf("quarantined %v, want %d", quarantined, test.want)
			}
			if got := strings.Count(log.String(), "quarantined: what depends on it fails closed"); got != test.want {
				t.Errorf("%d lines, want %d:\n%s", got, test.want, log.String())
			}
		})
	}
}

// The log names what is quarantined when it becomes so, not with every change after that, and not without end.
func TestTheLogNamesWhatIsQuarantined(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	c := tableCompiler{log: slog.New(slog.NewTextHandler(&log, nil))}
	p := compile.Quarantined{Kind: "plugins", ID: "p", Name: "file-log", Reason: "no such path"}
	other := compile.Quarantined{Kind: "plugins", ID: "p", Name: "file-log", Reason: "another reason"}
	many := make([]compile.Quarantined, quarantineLines+5)
	for i := range many {
		many[i] = compile.Quarantined{Kind: "routes", ID: strconv.Itoa(i)}
	}
	for _, step := range []struct {
		name   string
		faulty []compile.Quarantined
		lines  int
		says   string
	}{
		{"new", []compile.Quarantined{p}, 1, `kind=plugins id=p name=file-log reason="no such path"`},
		{"as before", []compile.Quarantined{p}, 0, ""},
		{"for another reason", []compile.Quarantined{other}, 1, `reason="another reason"`},
		{"usable", nil, 0, ""},
		{"again", []compile.Quarantined{other}, 1, `reason="another reason"`},
		{"many", many, quarantineLines + 1, "number=5"},
	} {
		log.Reset()
		c.tell(step.faulty)
		if got := strings.Count(log.String(), "\n"); got != step.lines || !strings.Contains(log.String(), step.says) {
			t.Errorf("%s: %d lines, want %d with %s:\n%s", step.name, got, step.lines, step.says, log.String())
		}
	}
}

// Where a kept plugin runs is what the control plane can still read; how is what this node last had.
func TestAKeptPluginMovesAndKeepsItsConfiguration(t *testing.T) {
	t.Parallel()
	encode := func(m proto.Message) []byte {
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	last := &configv1.Plugin{Id: new("p"), Name: new("key-auth"), Route: &configv1.Ref{Id: "r1"}, Config: []byte("secret")}
	tests := map[string]struct {
		body []byte
		want *configv1.Plugin
	}{
		"switched off": {
			encode(&configv1.Plugin{Id: new("p"), Name: new("key-auth"), Route: &configv1.Ref{Id: "r1"}, Enabled: new(false)}),
			&configv1.Plugin{Id: new("p"), Name: new("key-auth"), Route: &configv1.Ref{Id: "r1"}, Enabled: new(false), Config: []byte("secret")},
		},
		"moved": {
			encode(&configv1.Plugin{Id: new("p"), Name: new("key-auth"), Service: &configv1.Ref{Id: "s"}}),
			&configv1.Plugin{Id: new("p"), Name: new("key-auth"), Service: &configv1.Ref{Id: "s"}, Config: []byte("secret")},
		},
		"of another name": {encode(&configv1.Plugin{Id: new("p"), Name: new("jwt")}), last},
		"unreadable":      {[]byte{0xff}, last},
		"nothing":         {nil, last},
	}
	for name, test := range tests {
		var got configv1.Plugin
		if err := proto.Unmarshal(lastForm(configset.Entry{Kind: "plugins", Kept: true, Body: test.body, Last: encode(last)}), &got); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(&got, test.want) {
			t.Errorf("%s: another form than was wanted", name) // entities are never printed
		}
	}
}
