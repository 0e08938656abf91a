package mtlsauth

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/shared/pkitest"
)

// attribute is one part of a name in a test: its type, the tag of its value, and the value.
type attribute struct {
	oid   asn1.ObjectIdentifier
	tag   int
	value string
}

var (
	cn = asn1.ObjectIdentifier{2, 5, 4, 3}
	on = asn1.ObjectIdentifier{2, 5, 4, 10}
	ou = asn1.ObjectIdentifier{2, 5, 4, 11}
)

// nameOf encodes a distinguished name; each list is one RDN.
func nameOf(t testing.TB, rdns ...[]attribute) []byte {
	t.Helper()
	var sequence []asn1.RawValue
	for _, rdn := range rdns {
		var set []asn1.RawValue
		for _, a := range rdn {
			value, err := asn1.Marshal(asn1.RawValue{Tag: a.tag, Bytes: []byte(a.value)})
			if err != nil {
				t.Fatal(err)
			}
			der, err := asn1.Marshal(struct {
				ID    asn1.ObjectIdentifier
				Value asn1.RawValue
			}{a.oid, asn1.RawValue{FullBytes: value}})
			if err != nil {
				t.Fatal(err)
			}
			set = append(set, asn1.RawValue{FullBytes: der})
		}
		der, err := asn1.MarshalWithParams(set, "set")
		if err != nil {
			t.Fatal(err)
		}
		sequence = append(sequence, asn1.RawValue{FullBytes: der})
	}
	der, err := asn1.Marshal(sequence)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// names in tests of text, with what is written and the common name.
func subjects() map[string]struct {
	rdns         [][]attribute
	text, common string
} {
	return map[string]struct {
		rdns         [][]attribute
		text, common string
	}{
		"nothing":           {nil, "", ""},
		"turned round":      {[][]attribute{{{[]int{2, 5, 4, 6}, 19, "JP"}}, {{on, 12, "Example"}}, {{cn, 12, "alice"}}}, "CN=alice,O=Example,C=JP", "alice"},
		"several in one":    {[][]attribute{{{on, 12, "x"}}, {{cn, 12, "alice"}, {ou, 12, "b"}}}, "CN=alice+OU=b,O=x", "alice"},
		"special":           {[][]attribute{{{cn, 12, `a,b+c"d\e<f>g;h=i#j`}}}, `CN=a\,b\+c\"d\\e\<f\>g\;h=i#j`, `a,b+c"d\e<f>g;h=i#j`},
		"at the ends":       {[][]attribute{{{on, 12, "#x "}}, {{cn, 12, " a "}}}, `CN=\ a\ ,O=\#x\ `, " a "},
		"one space":         {[][]attribute{{{cn, 12, " "}}}, `CN=\ `, " "},
		"UTF-8":             {[][]attribute{{{cn, 12, "日本"}}}, `CN=\E6\97\A5\E6\9C\AC`, "日本"},
		"BMP":               {[][]attribute{{{cn, 30, "\x65\xe5\x00a"}}}, `CN=\E6\97\A5a`, "日a"},
		"teletex":           {[][]attribute{{{cn, 20, "caf\xe9"}}}, `CN=caf\C3\A9`, "café"},
		"controls":          {[][]attribute{{{cn, 12, "a\x00b\nc\x7f"}}}, `CN=a\00b\0Ac\7F`, ""},
		"mail and domains":  {[][]attribute{{{[]int{0, 9, 2342, 19200300, 100, 1, 25}, 22, "com"}}, {{[]int{1, 2, 840, 113549, 1, 9, 1}, 22, "a@b.c"}}, {{[]int{0, 9, 2342, 19200300, 100, 1, 1}, 12, "u1"}}}, "UID=u1,emailAddress=a@b.c,DC=com", ""},
		"many types":        {[][]attribute{{{[]int{2, 5, 4, 5}, 19, "1"}}, {{[]int{2, 5, 4, 7}, 12, "l"}}, {{[]int{2, 5, 4, 8}, 12, "s"}}, {{[]int{2, 5, 4, 9}, 12, "t"}}, {{[]int{2, 5, 4, 4}, 12, "n"}}, {{[]int{2, 5, 4, 42}, 12, "g"}}, {{[]int{2, 5, 4, 12}, 12, "h"}}, {{[]int{2, 5, 4, 17}, 12, "p"}}, {{[]int{2, 5, 4, 97}, 12, "i"}}}, "organizationIdentifier=i,postalCode=p,title=h,GN=g,SN=n,street=t,ST=s,L=l,serialNumber=1", ""},
		"an unknown type":   {[][]attribute{{{[]int{1, 2, 3, 4}, 12, "foo"}}, {{cn, 12, "a"}}}, "CN=a,1.2.3.4=#0C03666F6F", "a"},
		"no text":           {[][]attribute{{{cn, 4, "foo"}}}, "CN=#0403666F6F", ""},
		"two common names":  {[][]attribute{{{cn, 12, "admin"}}, {{cn, 12, "alice"}}}, "CN=alice,CN=admin", ""},
		"empty common name": {[][]attribute{{{cn, 12, ""}}}, "CN=", ""},
	}
}

func TestNamesAreWrittenAsOpenSSLWritesThem(t *testing.T) {
	t.Parallel()
	root := pkitest.Root(t, "root")
	for name, test := range subjects() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			der := nameOf(t, test.rdns...)
			text, common, err := parseName(der)
			if err != nil || text != test.text || common != test.common {
				t.Errorf("parseName = %q, %q, %v; want %q, %q", text, common, err, test.text, test.common)
			}
			openssl, err := exec.LookPath("openssl")
			if err != nil {
				t.Fatal("openssl is missing; install it with: make deps")
			}
			if name == "no text" { // crypto/x509 reads no such certificate
				return
			}
			leaf := root.Issue("", func(c *x509.Certificate) { c.RawSubject = der })
			command := exec.CommandContext(t.Context(), openssl, "x509", "-noout", "-subject", "-nameopt", "RFC2253")
			command.Stdin = strings.NewReader(leaf.PEM())
			said, err := command.CombinedOutput()
			if got, ok := bytes.CutPrefix(said, []byte("subject=")); err != nil || !ok || strings.TrimSuffix(string(got), "\n") != text {
				t.Errorf("openssl says %q, %v; we %q", said, err, text)
			}
		})
	}
}

func TestBrokenNames(t *testing.T) {
	t.Parallel()
	for name, der := range map[string][]byte{
		"nothing":          {},
		"no sequence":      {0x31, 0},
		"something beside": {0x30, 0, 0},
		"an empty set":     {0x30, 2, 0x31, 0},
		"cut off":          nameOf(t, []attribute{{cn, 12, "alice"}})[:12],
	} {
		if text, common, err := parseName(der); err == nil || text != "" || common != "" {
			t.Errorf("%s: %q, %q, %v", name, text, common, err)
		}
	}
	if text, common, err := parseName(nameOf(t, []attribute{{cn, 12, "a\xff"}}, []attribute{{on, 30, "abc"}}, []attribute{{ou, 30, "\xd8\x00"}})); err != nil || common != "" || text != "OU=#1E02D800,O=#1E03616263,CN=#0C0261FF" {
		t.Errorf("not to be decoded: %q, %q, %v", text, common, err)
	}
}

func TestAlternativeNames(t *testing.T) {
	t.Parallel()
	general := func(tag int, value string) asn1.RawValue {
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(value)}
	}
	for name, test := range map[string]struct {
		names []asn1.RawValue
		want  []string
		sans  string
		fails bool
	}{
		"none":       {},
		"in order":   {[]asn1.RawValue{general(6, "spiffe://a/%2C"), general(2, "B.example"), general(1, "a@b"), general(7, "\x7f\x00\x00\x01")}, []string{"spiffe://a/%2C", "B.example", "a@b", "127.0.0.1"}, "spiffe://a/%2C, B.example, a@b, 127.0.0.1", false},
		"IPv6":       {[]asn1.RawValue{general(7, strings.Repeat("\x00", 15)+"\x01")}, []string{"::1"}, "::1", false},
		"skipped":    {[]asn1.RawValue{{Class: 2, Tag: 0, IsCompound: true, Bytes: []byte{5, 0}}, general(8, "\x2a"), general(2, "x")}, []string{"x"}, "x", false},
		"a comma":    {[]asn1.RawValue{general(6, "x:a,b")}, []string{"x:a,b"}, "x:a%2Cb", false},
		"empty":      {[]asn1.RawValue{general(2, "")}, nil, "", false},
		"a newline":  {[]asn1.RawValue{general(2, "a\nb")}, nil, "", true},
		"not ASCII":  {[]asn1.RawValue{general(1, "\xc3\xa9@b")}, nil, "", true},
		"half an IP": {[]asn1.RawValue{general(7, "\x7f\x00")}, nil, "", true},
	} {
		der, err := asn1.Marshal(test.names)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseAlternativeNames(der)
		if diff := cmp.Diff(test.want, got); diff != "" || (err != nil) != test.fails || listed(got) != test.sans {
			t.Errorf("%s: %v, listed as %q %s", name, err, listed(got), diff)
		}
	}
}

func TestACommonNameBesideAlternativeNamesIsNoName(t *testing.T) {
	t.Parallel()
	root := pkitest.Root(t, "root")
	empty := pkix.Extension{Id: oidAlternativeName, Value: []byte{0x30, 0}}
	for name, test := range map[string]struct {
		edit pkitest.Edit
		want []string
	}{
		"without": {func(*x509.Certificate) {}, []string{"alice"}},
		"with":    {func(c *x509.Certificate) { c.DNSNames = []string{"a.example"} }, []string{"a.example"}},
		"other":   {func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{empty} }, nil},
	} {
		got, err := namesOf(root.Issue("alice", test.edit).Cert)
		if diff := cmp.Diff(test.want, got.subject); diff != "" || err != nil || got.common != "alice" {
			t.Errorf("%s: %v, %q %s", name, err, got.common, diff)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, test := range subjects() {
		f.Add(nameOf(f, test.rdns...))
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		text, common, err := parseName(der)
		if !printable(text) || err != nil && text+common != "" || strings.ContainsAny(common, "\x00\r\n") {
			t.Errorf("%q, %q, %v", text, common, err)
		}
	})
}

func FuzzParseAlternativeNames(f *testing.F) {
	f.Add([]byte{0x30, 0})
	f.Add([]byte("\x30\x0f\x82\x01x\x87\x04\x7f\x00\x00\x01\x86\x04a:,b"))
	f.Fuzz(func(t *testing.T, der []byte) {
		list, err := parseAlternativeNames(der)
		if text := listed(list); !printable(text) || len(list) > 0 && strings.Count(text, ",") != len(list)-1 || err != nil && list != nil {
			t.Errorf("%q, %v", list, err)
		}
	})
}
