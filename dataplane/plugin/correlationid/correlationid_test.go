package correlationid_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/plugin/correlationid"
	"github.com/keepgate/keepgate/dataplane/plugin/keyauth"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

func gate(t *testing.T, config, more string) *plugintest.Gate {
	t.Helper()
	g := plugintest.New(t, correlationid.New(), keyauth.Kind{})
	g.Configure(`
services: [{name: s, url: "{{origin}}", routes: [{name: r, paths: [/]}]}]
plugins:
- {name: correlation-id, config: ` + config + `}
` + more)
	return g
}

const uuid = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"

func TestGenerators(t *testing.T) {
	t.Parallel()
	for generator, form := range map[string]string{
		"uuid": "^" + uuid + "$", "uuid#counter": "^" + uuid + "#[0-9]+$",
		"tracker": `^127\.0\.0\.1-[0-9]+-` + strconv.Itoa(os.Getpid()) + `-[0-9]+-[0-9]+-[0-9]{10}\.[0-9]{3}$`,
	} {
		t.Run(generator, func(t *testing.T) {
			t.Parallel()
			g := gate(t, `{"generator":"`+generator+`","header_name":"X-Trace"}`, "")
			var mu sync.Mutex
			given := map[string]bool{} // guarded by mu
			var clients sync.WaitGroup
			for i := range 8 {
				clients.Go(func() {
					for range 20 {
						reply := g.Do(plugintest.Request{Engine: plugintest.Engines()[i%2]})
						id := reply.Echo(t).Header.Get("X-Trace")
						if !regexp.MustCompile(form).MatchString(id) || reply.Header.Get("X-Trace") != "" {
							t.Errorf("named %q; the client sees %q", id, reply.Header.Get("X-Trace"))
						}
						mu.Lock()
						if given[id] {
							t.Errorf("%q was given twice", id)
						}
						given[id] = true
						mu.Unlock()
					}
				})
			}
			clients.Wait()
		})
	}
}

func TestTheClientsNameStays(t *testing.T) {
	t.Parallel()
	g := gate(t, `{"echo_downstream":true}`, "")
	for name, test := range map[string]struct{ given, want string }{
		"its own": {"order-17", "^order-17$"}, "an empty one": {"", "^" + uuid + "#[0-9]+$"},
	} {
		reply := g.Get("/", "kong-request-id", test.given)
		sent := reply.Echo(t).Header.Values("Kong-Request-Id")
		if len(sent) != 1 || !regexp.MustCompile(test.want).MatchString(sent[0]) || reply.Header.Get("Kong-Request-ID") != sent[0] {
			t.Errorf("%s: the upstream got %q, the client %q", name, sent, reply.Header.Get("Kong-Request-ID"))
		}
	}
}

// Refused requests have a name too, that the client learns.
func TestRefusedRequestsAreNamed(t *testing.T) {
	t.Parallel()
	g := gate(t, `{"echo_downstream":true,"generator":"uuid"}`, "- {name: key-auth}\n")
	reply := g.Get("/")
	if reply.Status != 401 || !regexp.MustCompile("^"+uuid+"$").MatchString(reply.Header.Get("Kong-Request-ID")) {
		t.Errorf("%d %q", reply.Status, reply.Header.Get("Kong-Request-ID"))
	}
	if reply := g.Get("/", "Kong-Request-ID", "mine"); reply.Header.Get("Kong-Request-ID") != "mine" {
		t.Errorf("the client called it mine, and gets %q", reply.Header.Get("Kong-Request-ID"))
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*pluginv1.CorrelationId{
		"no name":            {HeaderName: new("")},
		"two lines":          {HeaderName: new("A: 1\r\nB")},
		"an identity header": {HeaderName: new("X-Consumer-ID")},
		"one with _":         {HeaderName: new("x_credential_identifier")},
		"a framing header":   {HeaderName: new("content-length")},
		"an unknown word":    {Generator: new("dice")},
	} {
		body, err := proto.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if made, err := correlationid.New().New(body, plugintest.Env()); err == nil {
			t.Errorf("%s: made a %T", name, made)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
