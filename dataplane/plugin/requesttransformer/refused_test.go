package requesttransformer_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/requesttransformer"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

func TestConfigurationsThatAreRefused(t *testing.T) {
	t.Parallel()
	list := func(entries ...string) *configv1.StringArray { return &configv1.StringArray{Values: entries} }
	headers := func(entries ...string) *pluginv1.TransformedRequest {
		return &pluginv1.TransformedRequest{Headers: list(entries...)}
	}
	for name, test := range map[string]struct {
		config *pluginv1.RequestTransformer
		says   string
	}{
		"no value":         {&pluginv1.RequestTransformer{Add: headers("x-a")}, "key 'x-a' has no value"},
		"only colons":      {&pluginv1.RequestTransformer{Append: &pluginv1.TransformedRequest{Body: list("a::")}}, "key 'a' has no value"},
		"no new name":      {&pluginv1.RequestTransformer{Rename: &pluginv1.TransformedRequest{Querystring: list("a:")}}, "key 'a' has no value"},
		"no name":          {&pluginv1.RequestTransformer{Replace: &pluginv1.ReplacedRequest{Body: list(":v")}}, "no name"},
		"nothing removed":  {&pluginv1.RequestTransformer{Remove: headers("")}, "no name"},
		"a bad name":       {&pluginv1.RequestTransformer{Remove: headers("x a")}, "not the name of a header"},
		"a bad new name":   {&pluginv1.RequestTransformer{Rename: headers("a:x\r\ny")}, "not the name of a header"},
		"a length":         {&pluginv1.RequestTransformer{Add: headers("Content-Length:5")}, "gateway's own"},
		"a coding":         {&pluginv1.RequestTransformer{Replace: &pluginv1.ReplacedRequest{Headers: list("transfer_encoding:chunked")}}, "gateway's own"},
		"a hop":            {&pluginv1.RequestTransformer{Append: headers("connection:x-a")}, "gateway's own"},
		"an identity":      {&pluginv1.RequestTransformer{Rename: headers("x-a:x_consumer_username")}, "gateway's own"},
		"a credential":     {&pluginv1.RequestTransformer{Add: headers("X-Credential-Identifier:me")}, "gateway's own"},
		"a certificate":    {&pluginv1.RequestTransformer{Replace: &pluginv1.ReplacedRequest{Headers: list("x-client-cert-dn:cn=me")}}, "gateway's own"},
		"another host":     {&pluginv1.RequestTransformer{Add: headers("host:a")}, "gateway's own"},
		"no template":      {&pluginv1.RequestTransformer{Add: headers("x-a:$(headers.")}, "not in supported format"},
		"Lua":              {&pluginv1.RequestTransformer{Add: headers(`x-a:$(headers["x"]:sub(1,3))`)}, "not in supported format"},
		"an unknown table": {&pluginv1.RequestTransformer{Add: headers("x-a:$(os.exit)")}, "not in supported format"},
		"no slash":         {&pluginv1.RequestTransformer{Replace: &pluginv1.ReplacedRequest{Uri: new("x")}}, "slash"},
		"no path":          {&pluginv1.RequestTransformer{Replace: &pluginv1.ReplacedRequest{Uri: new("/x?y")}}, "not a path"},
		"no first part":    {&pluginv1.RequestTransformer{Replace: &pluginv1.ReplacedRequest{Uri: new("/%zz/$(headers.a)")}}, "not a path"},
		"a tunnel":         {&pluginv1.RequestTransformer{HttpMethod: new("CONNECT")}, "not forwarded"},
		"no method":        {&pluginv1.RequestTransformer{HttpMethod: new("GET / HTTP/1.1\r\n")}, "not a method"},
	} {
		body, err := proto.Marshal(test.config)
		if err != nil {
			t.Fatal(err)
		}
		made, err := requesttransformer.New().New(body, plugintest.Env())
		if err == nil {
			t.Errorf("%s: made a %T", name, made)
		} else if !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
