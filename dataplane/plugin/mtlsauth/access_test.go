package mtlsauth_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/pkitest"
)

func TestWhoIsLetIn(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	root, stranger := pkitest.Root(t, "ca"), pkitest.Root(t, "ca")
	between := root.Below("between")
	deeper := between.Below("deeper")
	constrained := root.Below("constrained", func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"inside.example"}
	})
	forServers := root.Below("for servers", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	called := func(name string) pkitest.Edit { return func(c *x509.Certificate) { c.DNSNames = []string{name} } }
	usage := func(usages ...x509.ExtKeyUsage) pkitest.Edit {
		return func(c *x509.Certificate) { c.ExtKeyUsage = usages }
	}
	between2 := deeper.Issue("alice")
	between2.Between = between2.Between[:1] // without what leads further
	alone := between.Issue("alice")
	alone.Between = nil
	notAnIssuer := root.Issue("no authority")
	fake := &pkitest.Authority{}
	*fake = *root.Below("fake")
	fake.Pair = notAnIssuer

	good := map[string]pkitest.Pair{
		"ECDSA":                   root.Issue("alice"),
		"RSA":                     root.IssueFor(pkitest.RSA(t), "alice"),
		"Ed25519":                 root.IssueFor(pkitest.Ed25519(t), "alice"),
		"an intermediate":         between.Issue("alice"),
		"two intermediates":       deeper.Issue("alice"),
		"no usages":               root.Issue("alice", usage()),
		"any usage":               root.Issue("alice", usage(x509.ExtKeyUsageAny)),
		"several usages":          root.Issue("alice", usage(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)),
		"within constraints":      constrained.Issue("x", called("alice.inside.example")),
		"another name, but a SAN": root.Issue("mallory", called("alice")),
	}
	bad := map[string]struct {
		pair   pkitest.Pair
		reason string
	}{
		"expired": {root.Issue("alice", func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		}), "expired"},
		"not yet valid":                        {root.Issue("alice", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), "expired or is not yet valid"},
		"for servers":                          {root.Issue("alice", usage(x509.ExtKeyUsageServerAuth)), "incompatible key usage"},
		"below an authority for servers":       {forServers.Issue("alice"), "incompatible key usage"},
		"another authority of the same name":   {stranger.Issue("alice"), "unknown authority"},
		"signed by itself":                     {pkitest.Root(t, "alice", func(c *x509.Certificate) { c.IsCA = false }).Pair, "unknown authority"},
		"an intermediate that was not sent":    {alone, "unknown authority"},
		"the second that was not sent":         {between2, "unknown authority"},
		"beyond constraints":                   {constrained.Issue("x", called("alice.outside.example")), "constraint"},
		"a common name beside constraints":     {constrained.Issue("alice"), "belongs to no consumer"},
		"issued by one that is no authority":   {fake.Issue("alice"), "unknown authority"},
		"of nobody":                            {root.Issue("nobody"), "belongs to no consumer"},
		"of nobody, with a consumer's name":    {root.Issue("alice", called("nobody")), "belongs to no consumer"},
		"several common names":                 {root.Issue("", func(c *x509.Certificate) { c.RawSubject = twice("alice", "bob") }), "belongs to no consumer"},
		"an unknown critical extension":        {root.Issue("alice", pkitest.Extension(pkix.Extension{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}})), "critical extension"},
		"a name of bytes that no header takes": {root.Issue("", func(c *x509.Certificate) { c.RawSubject = twice("alice\r\nX-Consumer-Username: admin") }), "belongs to no consumer"},
	}
	g.Configure(setting{authorities: []*pkitest.Authority{root}, more: `consumers:
- {username: alice, custom_id: alice.inside.example}
- {username: "alice.outside.example"}
- {username: bob}`}.file())

	g.client("without")
	g.refuses("without", none)
	g.refuses("in clear", none)
	for name, pair := range good {
		g.client(name, pair)
		if echo := g.admits(name); echo.Header.Get("X-Consumer-Username") != "alice" {
			t.Errorf("%s: taken for %q", name, echo.Header.Get("X-Consumer-Username"))
		}
	}
	for name, test := range bad {
		g.client(name, test.pair)
		before := len(g.log.String())
		g.refuses(name, failed)
		if said := g.log.String()[before:]; !strings.Contains(said, test.reason) {
			t.Errorf("%s: the log says %q, want %q", name, said, test.reason)
		}
		g.refuses(name, failed) // out of the cache
	}
	long := []pkitest.Pair{root.Issue("alice")}
	for range 10 {
		long = append(long, stranger.Issue("filler"))
	}
	g.client("too long a chain", long...)
	g.refuses("too long a chain", failed)
	g.client("fillers", long[:10]...)
	g.admits("fillers")
}

// twice is a subject with several common names.
func twice(names ...string) []byte {
	var sequence pkix.RDNSequence
	for _, name := range names {
		sequence = append(sequence, []pkix.AttributeTypeAndValue{{Type: []int{2, 5, 4, 3}, Value: name}})
	}
	der, err := asn1Marshal(sequence)
	if err != nil {
		panic(err)
	}
	return der
}

// Kong's order: credentials for the authority, credentials for any, then what consumers are called.
func TestLookupOrder(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	first, second := pkitest.Root(t, "first"), pkitest.Root(t, "second")
	between := first.Below("between")
	uri, err := url.Parse("spiffe://example.com/alice")
	if err != nil {
		t.Fatal(err)
	}
	everything := func(c *x509.Certificate) {
		c.DNSNames, c.EmailAddresses, c.IPAddresses, c.URIs = []string{"dns.example"}, []string{"a@mail.example"}, []net.IP{net.IPv4(10, 0, 0, 1)}, []*url.URL{uri}
	}
	g.client("first's", first.Issue("name"))
	g.client("second's", second.Issue("name"))
	g.client("between's", between.Issue("name"))
	g.client("everything", first.Issue("name", everything))
	g.client("free", first.Issue("free"))

	consumer := func(name, rest string) string { return "- {username: " + name + ", " + rest + "}\n" }
	credential := func(subject, authority string) string {
		if authority != "" {
			authority = ", ca_certificate: {id: " + authority + "}"
		}
		return "mtls_auth_credentials: [{subject_name: \"" + subject + "\"" + authority + "}]"
	}
	pinned, other := consumer("pinned", credential("name", firstID)), consumer("other", credential("name", secondID))
	open, named := consumer("open", credential("name", "")), consumer("name", "custom_id: x")
	custom := consumer("y", "custom_id: name")
	for name, test := range map[string]struct {
		consumers, config string
		want              map[string]string // by client; "" for refused
	}{
		"for the authority first":     {pinned + other + open + named, "", map[string]string{"first's": "pinned", "second's": "other", "between's": "pinned"}},
		"then for any":                {other + open + named, "", map[string]string{"first's": "open", "second's": "other", "between's": "open"}},
		"then by user name":           {other + custom + named, "", map[string]string{"first's": "name", "second's": "other"}},
		"then by custom id":           {custom, "", map[string]string{"first's": "y"}},
		"custom id first":             {custom + named, "consumer_by: [custom_id, username]", map[string]string{"first's": "y"}},
		"user names only":             {custom, "consumer_by: [username]", map[string]string{"first's": ""}},
		"credentials only":            {custom + named + other, "consumer_by: []", map[string]string{"first's": "", "second's": "other"}},
		"another authority's only":    {other, "", map[string]string{"first's": "", "second's": "other"}},
		"DNS":                         {consumer("c", credential("dns.example", "")), "", map[string]string{"everything": "c"}},
		"mail":                        {consumer("c", credential("a@mail.example", firstID)), "", map[string]string{"everything": "c"}},
		"address":                     {consumer("\"10.0.0.1\"", "custom_id: c"), "", map[string]string{"everything": "10.0.0.1"}},
		"URI":                         {consumer("c", credential("spiffe://example.com/alice", "")), "", map[string]string{"everything": "c"}},
		"the common name beside SANs": {named, "", map[string]string{"everything": ""}},
		"the first SAN":               {consumer("\"a@mail.example\"", "custom_id: z") + consumer("w", "custom_id: dns.example"), "", map[string]string{"everything": "w"}},
		"default consumer":            {named + consumer("guest", "custom_id: g"), "default_consumer: guest", map[string]string{"free": "guest", "first's": "name"}},
		"no such default consumer":    {named, "default_consumer: gone", map[string]string{"free": "", "first's": "name"}},
		"default before anonymous":    {consumer("guest", "custom_id: g") + consumer("nobody", "custom_id: n"), "default_consumer: guest, anonymous: nobody", map[string]string{"free": "guest", "in clear": "nobody"}},
	} {
		g.Configure(setting{authorities: []*pkitest.Authority{first, second}, config: test.config, more: "consumers:\n" + test.consumers}.file())
		for client, want := range test.want {
			if want == "" {
				g.refuses(client, failed)
				continue
			}
			if echo := g.admits(client); echo.Header.Get("X-Consumer-Username") != want {
				t.Errorf("%s: %s is taken for %q, want %q", name, client, echo.Header.Get("X-Consumer-Username"), want)
			}
		}
	}
}
