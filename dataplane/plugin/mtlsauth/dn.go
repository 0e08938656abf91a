package mtlsauth

import (
	"encoding/asn1"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

const oidCommonName = "2.5.4.3"

// shortName is what OpenSSL calls an attribute, "" for one that it would write as an object identifier.
func shortName(oid string) string {
	switch oid {
	case oidCommonName:
		return "CN"
	case "2.5.4.4":
		return "SN"
	case "2.5.4.5":
		return "serialNumber"
	case "2.5.4.6":
		return "C"
	case "2.5.4.7":
		return "L"
	case "2.5.4.8":
		return "ST"
	case "2.5.4.9":
		return "street"
	case "2.5.4.10":
		return "O"
	case "2.5.4.11":
		return "OU"
	case "2.5.4.12":
		return "title"
	case "2.5.4.13":
		return "description"
	case "2.5.4.15":
		return "businessCategory"
	case "2.5.4.17":
		return "postalCode"
	case "2.5.4.20":
		return "telephoneNumber"
	case "2.5.4.41":
		return "name"
	case "2.5.4.42":
		return "GN"
	case "2.5.4.43":
		return "initials"
	case "2.5.4.44":
		return "generationQualifier"
	case "2.5.4.45":
		return "x500UniqueIdentifier"
	case "2.5.4.46":
		return "dnQualifier"
	case "2.5.4.65":
		return "pseudonym"
	case "2.5.4.97":
		return "organizationIdentifier"
	case "0.9.2342.19200300.100.1.1":
		return "UID"
	case "0.9.2342.19200300.100.1.3":
		return "mail"
	case "0.9.2342.19200300.100.1.25":
		return "DC"
	case "1.2.840.113549.1.9.1":
		return "emailAddress"
	case "1.2.840.113549.1.9.2":
		return "unstructuredName"
	case "1.3.6.1.4.1.311.60.2.1.1":
		return "jurisdictionL"
	case "1.3.6.1.4.1.311.60.2.1.2":
		return "jurisdictionST"
	case "1.3.6.1.4.1.311.60.2.1.3":
		return "jurisdictionC"
	}
	return ""
}

var errName = errors.New("the certificate's subject cannot be read")

// parseName writes a distinguished name as OpenSSL's -nameopt RFC2253 and nginx's $ssl_client_s_dn do: the last
// part first, in visible ASCII. common is its common name as text; of several nobody knows which is meant, and one
// that cannot be shown names nobody: then it is "".
func parseName(der []byte) (text, common string, err error) {
	input := cryptobyte.String(der)
	var sequence cryptobyte.String
	if !input.ReadASN1(&sequence, cbasn1.SEQUENCE) || !input.Empty() {
		return "", "", errName
	}
	var parts []string // each with the separator that stands after it when the order is turned
	commons := 0
	for !sequence.Empty() {
		var set cryptobyte.String
		if !sequence.ReadASN1(&set, cbasn1.SET) || set.Empty() {
			return "", "", errName
		}
		for first := true; !set.Empty(); first = false {
			oid, value, err := parseAttribute(&set)
			if err != nil {
				return "", "", err
			}
			separator := "+"
			if first {
				separator = ","
			}
			parts = append(parts, separator, written(oid, value))
			if oid == oidCommonName {
				commons++
				common, _ = decoded(value)
			}
		}
	}
	if commons != 1 || strings.ContainsFunc(common, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }) {
		common = ""
	}
	var b strings.Builder
	for i := len(parts) - 1; i > 0; i -= 2 {
		b.WriteString(parts[i])
		if i > 1 {
			b.WriteString(parts[i-1])
		}
	}
	return b.String(), common, nil
}

// parseAttribute returns an attribute's type and its value with tag and length.
func parseAttribute(set *cryptobyte.String) (oid string, value cryptobyte.String, err error) {
	var attribute cryptobyte.String
	var id asn1.ObjectIdentifier
	var tag cbasn1.Tag
	if !set.ReadASN1(&attribute, cbasn1.SEQUENCE) || !attribute.ReadASN1ObjectIdentifier(&id) ||
		!attribute.ReadAnyASN1Element(&value, &tag) || !attribute.Empty() {
		return "", nil, errName
	}
	return id.String(), value, nil
}

// written is one attribute.
func written(oid string, value cryptobyte.String) string {
	short := shortName(oid)
	if short == "" {
		return oid + "=" + hexDump(value)
	}
	text, ok := decoded(value)
	if !ok {
		return short + "=" + hexDump(value)
	}
	return short + "=" + escaped(text)
}

// decoded turns the string types that have a text into UTF-8. A teletex string is taken for Latin-1, as OpenSSL does.
func decoded(element cryptobyte.String) (text string, ok bool) {
	var body cryptobyte.String
	var tag cbasn1.Tag
	if !element.ReadAnyASN1(&body, &tag) {
		return "", false
	}
	switch tag {
	case 12:
		return string(body), utf8.Valid(body)
	case 18, 19, 20, 22, 23, 24, 26:
		runes := make([]rune, len(body))
		for i, c := range body {
			runes[i] = rune(c)
		}
		return string(runes), true
	case 28:
		return wide(body, 4)
	case 30:
		return wide(body, 2)
	}
	return "", false
}

// wide decodes characters of 2 or 4 bytes. There are no pairs of surrogates in a BMPString.
func wide(body []byte, size int) (string, bool) {
	if len(body)%size != 0 {
		return "", false
	}
	var b strings.Builder
	for ; len(body) > 0; body = body[size:] {
		r := uint32(0)
		for _, c := range body[:size] {
			r = r<<8 | uint32(c)
		}
		if r > utf8.MaxRune || utf16.IsSurrogate(rune(r)) {
			return "", false
		}
		b.WriteRune(rune(r))
	}
	return b.String(), true
}

// escaped follows RFC 2253 §2.4, with every byte beyond visible ASCII in hexadecimal.
func escaped(text string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case c < ' ' || c > '~':
			b.Write([]byte{'\\', digits[c>>4], digits[c&15]})
			continue
		case strings.IndexByte(`,+"\<>;`, c) >= 0, i == 0 && (c == '#' || c == ' '), i == len(text)-1 && c == ' ':
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}
