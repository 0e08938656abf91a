package trust_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// A list that does not tell of all that its CA has revoked is no list: what it leaves out would count as never revoked.
func TestListsAreWhole(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	place := []byte{0xa0, 0x0a, 0xa0, 0x08, 0x86, 0x06, 'h', 't', 't', 'p', ':', '/'}
	scope := func(parts ...byte) []byte { return append([]byte{0x30, byte(len(parts))}, parts...) }
	tests := map[string]struct {
		id       asn1.ObjectIdentifier
		critical bool
		value    []byte
		says     string // "" admits it
	}{
		"a place":                     {asn1.ObjectIdentifier{2, 5, 29, 28}, true, scope(place...), ""},
		"a place, of users":           {asn1.ObjectIdentifier{2, 5, 29, 28}, true, scope(append(place, 0x81, 1, 0xff)...), ""},
		"of CAs":                      {asn1.ObjectIdentifier{2, 5, 29, 28}, true, scope(0x82, 1, 0xff), "some certificates alone"},
		"of some reasons":             {asn1.ObjectIdentifier{2, 5, 29, 28}, true, scope(0x83, 2, 6, 0x40), "some certificates alone"},
		"of others":                   {asn1.ObjectIdentifier{2, 5, 29, 28}, true, scope(append(place, 0x84, 1, 0xff)...), "some certificates alone"},
		"of attributes, not critical": {asn1.ObjectIdentifier{2, 5, 29, 28}, false, scope(0x85, 1, 0xff), "some certificates alone"},
		"of who knows":                {asn1.ObjectIdentifier{2, 5, 29, 28}, true, []byte{0x30, 9}, "cannot be read"},
		"a delta":                     {asn1.ObjectIdentifier{2, 5, 29, 27}, true, []byte{2, 1, 7}, "delta CRL"},
		"an unknown one":              {asn1.ObjectIdentifier{1, 2, 3}, false, []byte{5, 0}, ""},
		"an unknown one, critical":    {asn1.ObjectIdentifier{1, 2, 3}, true, []byte{5, 0}, "(1.2.3)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
				Number: big.NewInt(8), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
				ExtraExtensions: []pkix.Extension{{Id: test.id, Critical: test.critical, Value: test.value}},
			}, ca.Cert, ca.Key())
			if err != nil {
				t.Fatal(err)
			}
			lists, err := trust.ParseLists(der)
			if test.says == "" && (err != nil || len(lists) != 1) {
				t.Errorf("ParseLists = %d lists, %v", len(lists), err)
			}
			if test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("ParseLists = %v, want it to say %q", err, test.says)
			}
		})
	}
}

// scoped is a list of ca, with what it says of its scope ("": nothing).
func scoped(t *testing.T, ca *mtlstest.CA, number int64, scope string, revoked ...*x509.Certificate) *x509.RevocationList {
	t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	for _, cert := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: time.Now()})
	}
	if scope != "" {
		template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte("\x30" + string(rune(len(scope))) + scope)}}
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, ca.Cert, ca.Key())
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// places is the scope of a place by names of one letter.
func places(names string) string {
	der := ""
	for _, name := range names {
		der += "\x86\x01" + string(name)
	}
	inner := "\xa0" + string(rune(len(der))) + der
	return "\xa0" + string(rune(len(inner))) + inner
}

// users is the scope of a list that leaves out CAs.
const users = "\x81\x01\xff"

// Lists that are whole each for itself may leave something out beside others, and beside CAs that are believed.
func TestListsAreWholeTogether(t *testing.T) {
	t.Parallel()
	root := mtlstest.NewCA(t, "root")
	below, other := root.Intermediate(t, "below"), mtlstest.NewCA(t, "other")
	leaf := root.Issue(t, mtlstest.Leaf{CN: "cp-1"})
	tests := map[string]struct {
		cas   []*mtlstest.CA
		lists []*x509.RevocationList
		says  string // "" admits them
	}{
		"of users, who are all":          {[]*mtlstest.CA{root}, []*x509.RevocationList{scoped(t, root, 1, users)}, ""},
		"of users, beside another's CA":  {[]*mtlstest.CA{root, other}, []*x509.RevocationList{scoped(t, root, 1, users), scoped(t, other, 1, "")}, ""},
		"of users, beside a CA":          {[]*mtlstest.CA{root, below}, []*x509.RevocationList{scoped(t, root, 1, users), scoped(t, below, 1, "")}, `"CN=below" is one`},
		"of users, with a newer one":     {[]*mtlstest.CA{root, below}, []*x509.RevocationList{scoped(t, root, 1, users), scoped(t, root, 2, ""), scoped(t, below, 1, "")}, ""},
		"of users, with an older one":    {[]*mtlstest.CA{root, below}, []*x509.RevocationList{scoped(t, root, 3, users), scoped(t, root, 2, ""), scoped(t, below, 1, "")}, `"CN=below" is one`},
		"of one place":                   {[]*mtlstest.CA{root}, []*x509.RevocationList{scoped(t, root, 1, places("a")), scoped(t, root, 2, places("a"))}, ""},
		"of one place, named twice":      {[]*mtlstest.CA{root}, []*x509.RevocationList{scoped(t, root, 1, places("ab")), scoped(t, root, 2, places("cb"))}, ""},
		"of one place, and of none":      {[]*mtlstest.CA{root}, []*x509.RevocationList{scoped(t, root, 1, places("a")), scoped(t, root, 2, "")}, ""},
		"of two places":                  {[]*mtlstest.CA{root}, []*x509.RevocationList{scoped(t, root, 1, places("a"), leaf.Cert), scoped(t, root, 2, places("b"))}, `"CN=root": there are lists of it of different places`},
		"of two places, the newer first": {[]*mtlstest.CA{root}, []*x509.RevocationList{scoped(t, root, 2, places("a")), scoped(t, root, 1, places("b"))}, "partitioned lists are not taken"},
		"of two CAs' places":             {[]*mtlstest.CA{root, other}, []*x509.RevocationList{scoped(t, root, 1, places("a")), scoped(t, other, 1, places("b"))}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judge := func(where string, err error) {
				t.Helper()
				if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
					t.Errorf("%s: %v, want %q", where, err, test.says)
				}
			}
			given := trust.Given{Listed: true, CRLFile: "crl.pem"}
			for _, ca := range test.cas {
				given.CAs = append(given.CAs, ca.Cert)
			}
			for _, list := range test.lists {
				parsed, err := trust.ParseLists(list.Raw)
				if err != nil {
					t.Fatal(err)
				}
				given.Lists = append(given.Lists, parsed...)
			}
			_, err := trust.OfNobody(given)
			judge("files", err)
			own := trust.Own{Pair: tls.Certificate{Certificate: [][]byte{leaf.Cert.Raw}, Leaf: leaf.Cert}}
			_, err = trust.New(own, trust.Given{CAs: given.CAs}, trust.Bundle{Lists: test.lists}, &trust.Rules{Mode: trust.PKI}, time.Now())
			judge("bundle", err)
		})
	}
}

// A CA that comes with a certificate, and is none of those that are believed, is looked up in no list that leaves out CAs.
func TestListsOfUsersSayNothingOfCAs(t *testing.T) {
	t.Parallel()
	root := mtlstest.NewCA(t, "root")
	below := root.Intermediate(t, "below")
	leaf := below.Issue(t, mtlstest.Leaf{CN: "cp-1"})
	for name, test := range map[string]struct {
		list *x509.RevocationList
		want verdict.Reason
	}{
		"of users": {scoped(t, root, 1, users, below.Cert), verdict.RevocationUnknown},
		"of all":   {scoped(t, root, 1, "", below.Cert), verdict.Revoked},
	} {
		given := trust.Given{CAs: []*x509.Certificate{root.Cert}, Listed: true}
		for _, list := range []*x509.RevocationList{test.list, scoped(t, below, 1, "")} {
			parsed, err := trust.ParseLists(list.Raw)
			if err != nil {
				t.Fatal(err)
			}
			given.Lists = append(given.Lists, parsed...)
		}
		believed, err := trust.OfNobody(given)
		if err != nil {
			t.Fatal(err)
		}
		_, err = believed.VerifyChain([]*x509.Certificate{leaf.Cert, below.Cert}, trust.Demand{Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}, time.Now())
		if refusal := verdict.Explain(err); refusal == nil || refusal.Reason != test.want {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}
