package plugintest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

// Plugin is what the suite must know of a plugin. Only Kind is needed by all.
type Plugin struct {
	Kind   plugin.Kind
	Config string // JSON of a configuration that makes the plugin work; default {}
	// Entities are further lists of a declarative file, in YAML: consumers, consumer_groups …
	Entities string

	Request Request // one that the plugin lets pass, or where it answers everything, any; default GET /
	Status  int     // what Request is answered with; default 200
	Refused *Refused

	// Connection completes what the engines know of the client's connection, as its certificates.
	Connection func(g *Gate) func(ex *exchange.Exchange)
	// Allocations is how often a request may allocate on account of the plugin.
	Allocations float64
	Protocols   []string // default grpc, grpcs, http, https
	Log         *Log     // what the Kind logs to
}

// Refused is a request that the plugin answers, and how.
type Refused struct {
	Request Request
	Status  int
	Message string // "": not looked at
	Compact bool   // a JSON object by itself, as Kong's exit() answers, instead of an error in the form that was asked for
}

// Suite checks that a plugin keeps what every plugin promises. The test that calls it must not be parallel.
func Suite(t *testing.T, p Plugin) {
	if p.Config == "" {
		p.Config = "{}"
	}
	if p.Status == 0 {
		p.Status = 200
	}
	if p.Protocols == nil {
		p.Protocols = []string{"grpc", "grpcs", "http", "https"}
	}
	if p.Log == nil {
		p.Log = NewLog()
	}
	t.Run("is listed", p.listed)
	t.Run("refuses bytes", p.refusesBytes)
	t.Run("starts nothing", p.startsNothing)
	t.Run("takes part", p.takesPart)
	t.Run("readme", p.readme)
	g := p.gate(t) // a Kind runs once, so there is one for all that follows
	t.Run("allocates", func(t *testing.T) { p.allocates(t, g) })
	t.Run("serves", func(t *testing.T) { p.serves(t, g) })
	t.Run("keeps nothing", func(t *testing.T) { p.keepsNothing(t, g) })
	t.Run("stops", func(t *testing.T) { p.stops(t, g) })
}

func (p Plugin) listed(t *testing.T) {
	for _, known := range plugins.All() {
		if known.Name != p.Kind.Name() {
			continue
		}
		if known.Priority != p.Kind.Priority() {
			t.Errorf("priority %d, listed with %d", p.Kind.Priority(), known.Priority)
		}
		if !slices.Equal(known.Protocols, p.Protocols) {
			t.Errorf("protocols %v, listed with %v", p.Protocols, known.Protocols)
		}
		return
	}
	t.Errorf("shared/plugins does not list %q", p.Kind.Name())
}

// file is a configuration with the plugin on the only route, or without it.
func (p Plugin) file(url string, with bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "services: [{name: suite, url: %q, routes: [{name: suite, paths: [/]}]}]\n", url)
	if with {
		fmt.Fprintf(&b, "plugins: [{name: %s, config: %s}]\n", p.Kind.Name(), p.Config)
	}
	return b.String() + p.Entities + "\n"
}

func (p Plugin) gate(t *testing.T) *Gate {
	g := New(t, p.Kind)
	if p.Connection != nil {
		g.Connection = p.Connection(g)
	}
	return g
}

// serves sends real requests, one by one and many at once, while configurations are swapped.
func (p Plugin) serves(t *testing.T, g *Gate) {
	g.Configure(p.file("{{origin}}", true))
	for _, engine := range Engines() {
		request := p.Request
		request.Engine = engine
		if reply := g.Do(request); reply.Status != p.Status {
			t.Errorf("engine %q: %d %s", engine, reply.Status, reply.Body)
		}
		if p.Refused != nil {
			p.refuses(t, g, engine)
		}
	}
	p.manyAtOnce(t, g)
	for range 20 {
		g.Configure(p.file("{{origin}}", true))
		g.Configure(p.file("{{origin}}", false))
	}
}

// stops ends the gate and looks at what is left of the plugin.
func (p Plugin) stops(t *testing.T, g *Gate) {
	g.Stop()
	if left := g.left(); left != "" {
		t.Errorf("still running when the gate has stopped:\n%s", left)
	}
	p.holdsNothing(t, g)
	said := g.AccessLog() + g.Errors.String() + p.Log.String()
	for field, value := range p.secrets(t) {
		if strings.Contains(said, value) {
			t.Errorf("a log shows %s, which is encrypted", field)
		}
	}
}

// refuses checks the form of an answer of the plugin's own.
func (p Plugin) refuses(t *testing.T, g *Gate, engine Engine) {
	request := p.Refused.Request
	request.Engine = engine
	reply := g.Do(request)
	var body struct {
		Message   string `json:"message"`
		RequestID string `json:"request_id"`
	}
	err := json.Unmarshal([]byte(reply.Body), &body)
	if reply.Status != p.Refused.Status || err != nil || p.Refused.Message != "" && body.Message != p.Refused.Message {
		t.Errorf("engine %q: refused by %d %q, want %d %q", engine, reply.Status, reply.Body, p.Refused.Status, p.Refused.Message)
	}
	if p.Refused.Compact {
		return
	}
	if id := reply.Header.Get("X-Keepgate-Request-Id"); body.RequestID == "" || body.RequestID != id {
		t.Errorf("engine %q: %q does not bear the request's id %s", engine, reply.Body, id)
	}
	request.Headers = append(slices.Clone(request.Headers), "Accept", "text/html")
	if reply := g.Do(request); !strings.Contains(reply.Body, "<html>") || !strings.HasPrefix(reply.Header.Get("Content-Type"), "text/html") {
		t.Errorf("engine %q: asked for HTML, answered %s %q", engine, reply.Header.Get("Content-Type"), reply.Body)
	}
}

func (p Plugin) manyAtOnce(t *testing.T, g *Gate) {
	var clients sync.WaitGroup
	for i := range 8 {
		request := p.Request
		request.Engine = Engines()[i%2]
		transport := transportFor(request.Engine)
		clients.Go(func() {
			defer transport.CloseIdleConnections()
			for range 25 {
				// Which status is the plugin's: it may count requests.
				if reply := g.send(transport, request); reply.Status == 0 || reply.Status == http.StatusInternalServerError {
					t.Errorf("one of many: %d %s", reply.Status, reply.Body)
					return
				}
			}
		})
	}
	for range 10 {
		g.Configure(p.file("{{origin}}", true))
	}
	clients.Wait()
}

// secrets are the values of the configuration's encrypted fields, by field.
func (p Plugin) secrets(t *testing.T) map[string]string {
	var config map[string]any
	if err := json.Unmarshal([]byte(p.Config), &config); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	var walk func(f *schema.Field, v any)
	walk = func(f *schema.Field, v any) {
		switch v := v.(type) {
		case string:
			if f.Encrypted {
				found[f.Path] = v
			}
		case []any:
			for _, one := range v {
				walk(f.Elem, one)
			}
		case map[string]any:
			if f.Kind == schema.Map {
				for _, one := range v {
					walk(f.Elem, one)
				}
				return
			}
			for _, child := range f.Fields {
				walk(child, v[child.Name])
			}
		}
	}
	for _, f := range schema.New(plugins.All()).PluginFields(p.Kind.Name()) {
		walk(f, config[f.Name])
	}
	return found
}
