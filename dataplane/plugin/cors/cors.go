// Package cors is the plugin cors: it answers preflight requests and says which origins may read responses (the WHATWG's
// Fetch standard, §3.2).
//
// It tells browsers what they may do and keeps nobody else from anything.
package cors

import (
	"errors"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

// Kind is the plugin.
type Kind struct{}

// Name implements plugin.Kind.
func (Kind) Name() string { return "cors" }

// Priority implements plugin.Kind.
func (Kind) Priority() int { return 2000 }

// New implements plugin.Kind.
func (Kind) New(config []byte, env plugin.Env) (any, error) {
	var c pluginv1.Cors
	if err := proto.Unmarshal(config, &c); err != nil {
		return nil, errors.New("configuration cannot be decoded")
	}
	origins, err := parseOrigins(c.GetOrigins().GetValues())
	if err != nil {
		return nil, err
	}
	methods := c.GetMethods().GetValues()
	if c.Methods == nil {
		methods = []string{"GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
	}
	i := &instance{
		slot: env.Slot, origins: origins, credentials: c.GetCredentials(), privateNetwork: c.GetPrivateNetwork(), pass: c.GetPreflightContinue(),
		methods: strings.Join(methods, ","), headers: strings.Join(c.GetHeaders().GetValues(), ","),
		exposed: strings.Join(c.GetExposedHeaders().GetValues(), ","),
	}
	if c.MaxAge != nil {
		i.maxAge = strconv.FormatFloat(c.GetMaxAge(), 'f', -1, 64)
	}
	return i, nil
}

// instance is one configuration.
type instance struct {
	slot                              int
	origins                           *origins
	methods, headers, exposed, maxAge string
	credentials, privateNetwork, pass bool
}

const (
	allowOrigin      = "Access-Control-Allow-Origin"
	allowCredentials = "Access-Control-Allow-Credentials"
	allowHeaders     = "Access-Control-Allow-Headers"
)

// Access implements plugin.Accesser: it answers a preflight request, before anybody asks who the client is, since a browser
// sends none with credentials.
func (i *instance) Access(ex *exchange.Exchange, _ *plugin.Runtime) {
	in := &ex.Request.Header
	if i.pass || ex.Request.Method != "OPTIONS" || !in.Has("Origin") || !in.Has("Access-Control-Request-Method") {
		return
	}
	ex.Answer(200, "", nil)
	ex.SetSlot(i.slot, i) // the response phase has nothing to add
	out := &ex.Response.Header
	i.sayOrigin(ex)
	if asked, found := in.Lookup("Access-Control-Request-Headers"); i.headers != "" {
		out.Set(allowHeaders, i.headers)
	} else if found {
		out.Set(allowHeaders, asked)
		addVary(out, "Access-Control-Request-Headers")
	}
	out.Set("Access-Control-Allow-Methods", i.methods)
	if i.maxAge != "" {
		out.Set("Access-Control-Max-Age", i.maxAge)
	}
	if i.privateNetwork && in.Get("Access-Control-Request-Private-Network") == "true" {
		out.Set("Access-Control-Allow-Private-Network", "true")
	}
}

// Response implements plugin.Responder.
func (i *instance) Response(ex *exchange.Exchange, _ *plugin.Runtime) {
	if ex.Slot(i.slot) != nil {
		return
	}
	i.sayOrigin(ex)
	if i.exposed != "" {
		ex.Response.Header.Set("Access-Control-Expose-Headers", i.exposed)
	}
}

// sayOrigin says who may read the response, in place of what an upstream said. A cache must not give one origin what was
// said to another.
func (i *instance) sayOrigin(ex *exchange.Exchange) {
	out, origin := &ex.Response.Header, ex.Request.Header.Get("Origin")
	switch o := i.origins; {
	case o.any && !i.credentials:
		out.Set(allowOrigin, "*")
		return
	case o.any && origin == "": // "*" would allow nothing with credentials; Fetch §3.2.3
		addVary(out, "Origin")
		out.Set(allowOrigin, "*")
		return
	case o.any:
		addVary(out, "Origin")
		out.Set(allowOrigin, origin)
	case o.single != "":
		addVary(out, "Origin")
		out.Set(allowOrigin, o.single)
	default:
		addVary(out, "Origin")
		if !o.match(origin) {
			out.Del(allowOrigin)
			out.Del(allowCredentials)
			return
		}
		out.Set(allowOrigin, origin)
	}
	if i.credentials {
		out.Set(allowCredentials, "true")
	}
}

// addVary adds a name to Vary unless it is there.
func addVary(header *exchange.Header, name string) {
	for i := range header.Len() {
		field := header.At(i)
		if !exchange.EqualFold(field.Name, "Vary") {
			continue
		}
		for rest := field.Value; rest != ""; {
			var one string
			one, rest, _ = strings.Cut(rest, ",")
			if one = strings.Trim(one, " \t"); one == "*" || exchange.EqualFold(one, name) {
				return
			}
		}
	}
	header.Add("Vary", name)
}
