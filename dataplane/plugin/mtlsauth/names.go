package mtlsauth

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// names are what a certificate calls its holder.
type names struct {
	subject     []string // what consumers are found by: the alternative names, or else the common name
	alternative bool     // it has the extension for alternative names, be it empty
	common      string   // "" when there is none that counts
	dn          string   // RFC 2253, as OpenSSL writes it
	sans        string   // the alternative names for a header
}

// namesOf reads the names of a certificate. The common name names a consumer only when there is no extension for
// alternative names at all (RFC 6125 §6.4.4).
func namesOf(leaf *x509.Certificate) (n names, err error) {
	for i := range leaf.Extensions {
		if e := &leaf.Extensions[i]; e.Id.Equal(oidAlternativeName) {
			n.alternative = true
			if n.subject, err = parseAlternativeNames(e.Value); err != nil {
				return names{}, err
			}
			n.sans = listed(n.subject)
		}
	}
	if n.dn, n.common, err = parseName(leaf.RawSubject); err != nil {
		return names{}, err
	}
	if !n.alternative && n.common != "" {
		n.subject = []string{n.common}
	}
	return n, nil
}

// withoutCommon is for certificates whose common name nobody vouches for.
func (n names) withoutCommon() names {
	n.common = ""
	if !n.alternative {
		n.subject = nil
	}
	return n
}

// group is what a certificate stands for without a consumer.
func (n *names) group(byDN bool) string {
	if byDN {
		return n.dn
	}
	return n.common
}

var errAlternative = errors.New("the certificate's alternative names cannot be read")

// parseAlternativeNames reads DNS, mail, URI and IP names in their order and skips the other sorts, RFC 5280 §4.2.1.6.
// It takes the text as it stands: a URI that was parsed and written again may be another one.
func parseAlternativeNames(der []byte) (list []string, err error) {
	input := cryptobyte.String(der)
	var general cryptobyte.String
	if !input.ReadASN1(&general, cbasn1.SEQUENCE) || !input.Empty() {
		return nil, errAlternative
	}
	for !general.Empty() {
		var value cryptobyte.String
		var tag cbasn1.Tag
		if !general.ReadAnyASN1(&value, &tag) {
			return nil, errAlternative
		}
		switch tag {
		case cbasn1.Tag(1).ContextSpecific(), cbasn1.Tag(2).ContextSpecific(), cbasn1.Tag(6).ContextSpecific():
			if !printable(string(value)) {
				return nil, errAlternative
			}
			if len(value) > 0 {
				list = append(list, string(value))
			}
		case cbasn1.Tag(7).ContextSpecific():
			address, ok := netip.AddrFromSlice(value)
			if !ok {
				return nil, errAlternative
			}
			list = append(list, address.String())
		}
	}
	return list, nil
}

// printable says whether text is visible ASCII and spaces.
func printable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// listed writes names for a header. A comma within a name is escaped, so that nobody is called what two are.
func listed(list []string) string {
	var b strings.Builder
	for i, one := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strings.ReplaceAll(one, ",", "%2C"))
	}
	return b.String()
}

// hexDump is how RFC 2253 §2.4 writes what has no text.
func hexDump(der []byte) string { return fmt.Sprintf("#%X", der) }
