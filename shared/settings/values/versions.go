package values

import (
	"crypto/tls"
	"fmt"
	"strings"
)

// Versions are the versions of TLS that are spoken, in Kong's form: "TLSv1.2 TLSv1.3". Older ones can be listed beside
// those, so that a configuration of Kong's is taken as it is, and are not spoken.
type Versions struct{ Least, Most uint16 }

// UnmarshalText reads the list.
func (v *Versions) UnmarshalText(text []byte) error {
	*v = Versions{}
	for _, word := range strings.Fields(strings.ReplaceAll(string(text), ",", " ")) {
		version := uint16(0)
		switch strings.ToLower(word) {
		case "tlsv1", "tlsv1.1":
			continue
		case "tlsv1.2":
			version = tls.VersionTLS12
		case "tlsv1.3":
			version = tls.VersionTLS13
		default:
			return fmt.Errorf("%q is no version of TLS; write TLSv1.2 TLSv1.3", word)
		}
		if v.Least == 0 || version < v.Least {
			v.Least = version
		}
		v.Most = max(v.Most, version)
	}
	if v.Least == 0 {
		return fmt.Errorf("TLS 1.2 and 1.3 are spoken; write TLSv1.2 TLSv1.3")
	}
	return nil
}

// String writes the list as it can be read again.
func (v Versions) String() string {
	var words []string
	for version, word := range map[uint16]string{tls.VersionTLS12: "TLSv1.2", tls.VersionTLS13: "TLSv1.3"} {
		if v.Least <= version && version <= v.Most {
			words = append(words, word)
		}
	}
	if len(words) == 2 {
		return "TLSv1.2 TLSv1.3"
	}
	return strings.Join(words, " ")
}
