package requesttransformer

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
	"github.com/keepgate/keepgate/shared/reserved"
)

// filled is what a template becomes for one request.
func filled(t *testing.T, text string) (string, error) {
	t.Helper()
	made, err := parseTemplate(text)
	if err != nil {
		return "", err
	}
	ex := new(exchange.Exchange)
	ex.Request.Header.Add("X-A", "one")
	ex.Request.Header.Add("X-A", "two")
	ex.Request.Host = "shop.test"
	ex.Request.RawQuery = "q=1%202&q=3"
	w := &work{captured: []captured{{1, "", "first"}, {2, "id", "second"}}}
	return render(&made, ex, w, plain), nil
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain": "plain", "": "", "$": "$", "$5 $[x] )": "$5 $[x] )", "$(headers.x_a)": "one", `a$(headers["x-a"])b`: "aoneb", "$( headers [ 'X-A' ] )": "one",
		"$(headers.host)": "shop.test", "$(query_params.q)$(query_params['q'])": "1 21 2", "$(uri_captures[1])-$(uri_captures[2])-$(uri_captures.id)": "first-second-second",
		"$(uri_captures[3] or uri_captures.no or headers.no or 'x')": "x", "$(headers.no)": "", "$(shared.a or 'b')": "b", `$("a\"b)")`: `a"b)`,
		"$(headers.or or 'y')": "y", "$('$(')": "$(",
	} {
		got, err := filled(t, text)
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{
		"$(", "$()", "$(headers)", "$(headers.)", "$(headers[])", "$(headers[1])", "$(query_params[1])", "$(uri_captures[0])", "$(uri_captures[1000])", "$(uri_captures[99999999999999999999])",
		"$(headers[''])", "$(headers['a)", "$(headers['a'", "$(headers.a or)", "$(headers.a and headers.b)", "$(headers.a .. 'b')", "$(type(headers.a))", "$('a' 'b')", "$(headers.a; os.exit())",
		"$(headers.a or or 'b')", "$(Headers.a)", "$(1)", "ok $(headers.a) $(", "$(uri_captures[1)",
	} {
		if got, err := filled(t, text); err == nil {
			t.Errorf("%s was taken: %q", text, got)
		}
	}
}

// FuzzTemplate: nothing panics, what is taken can be filled in, and text without "$(" is itself.
func FuzzTemplate(f *testing.F) {
	f.Add(`a$(headers["x-a"])b$(query_params.q or 'x')`)
	f.Add("$(uri_captures[1])$(shared.x)$")
	f.Add(`$("\")")$(headers.a or`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := filled(t, text)
		if err == nil && !strings.Contains(text, "$(") && got != text {
			t.Fatalf("%q became %q", text, got)
		}
		if err != nil && !strings.Contains(text, "$(") {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

// FuzzEntry: a configuration of any entries is refused or makes requests that are still whole: one header line stays one.
func FuzzEntry(f *testing.F) {
	f.Add("x-a:$(headers.x_a)", "a:b", "/x/$(query_params.q)", "v")
	f.Add("host:$(headers.x_a)", "::", "$(headers.x_a)", "/..%2f\r\n")
	f.Add("Content-Length:1", "a", "/", "\x00")
	f.Fuzz(func(t *testing.T, header, query, uri, value string) {
		name, _ := reserved.Cut(header)
		if strings.Contains(name, ":") {
			t.Fatalf("%q has the name %q", header, name)
		}
		list := func(entry string) *configv1.StringArray { return &configv1.StringArray{Values: []string{entry}} }
		config, err := proto.Marshal(&pluginv1.RequestTransformer{
			Add: &pluginv1.TransformedRequest{Headers: list(header), Querystring: list(query)}, Replace: &pluginv1.ReplacedRequest{Headers: list(header), Uri: &uri},
		})
		if err != nil {
			return // not UTF-8
		}
		made, err := New().New(config, plugin.Env{})
		if err != nil {
			return
		}
		ex := new(exchange.Exchange)
		ex.NeedSlots(4)
		ex.Request.Method, ex.Request.Path = "GET", "/x"
		ex.Request.Header.Add("X-A", value)
		ex.Request.RawQuery = string(escape([]byte("q="), value))
		made.(plugin.Accesser).Access(ex, nil)
		for name, value := range ex.Request.Header.All() {
			if !exchange.ValidName(name) || !exchange.ValidValue(value) || plugin.Reserved(name) {
				t.Fatalf("header %q: %q", name, value)
			}
		}
		if ex.Answered() {
			return
		}
		if path := ex.Rewritten.Path; path != "" {
			if again, err := exchange.Normalise(nil, string(exchange.AppendEscaped(nil, path))); err != nil || string(again) != path || climbs(path) {
				t.Fatalf("path %q, again %q, %v", path, again, err)
			}
		}
		if strings.ContainsAny(ex.Request.RawQuery+ex.Rewritten.Host, " \r\n\x00#") {
			t.Fatalf("query %q, host %q", ex.Request.RawQuery, ex.Rewritten.Host)
		}
	})
}
