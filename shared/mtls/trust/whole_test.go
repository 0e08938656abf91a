package trust_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/trust"
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
