package schema

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/keepgate/keepgate/shared/licensetext"
	"github.com/keepgate/keepgate/shared/schema/internal/format"
)

// certificatePairs checks that keys belong to their certificates and that the two pairs are of different types.
// A pair with a reference in it is checked by the node that resolves it.
func certificatePairs() rule {
	return rule{
		reads: []string{"cert", "key", "cert_alt", "key_alt"},
		check: func(_ *build, tree map[string]any, p problems) {
			cert, key := pem(tree, "cert"), pem(tree, "key")
			alternative, alternativeKey := pem(tree, "cert_alt"), pem(tree, "key_alt")
			if cert != "" && key != "" && !format.Pair(cert, key) {
				p.entity("certificate does not match key")
			}
			if alternative != "" && alternativeKey != "" && !format.Pair(alternative, alternativeKey) {
				p.entity("alternative certificate does not match key")
			}
			if cert != "" && alternative != "" && format.SameKeyType(cert, alternative) {
				p.entity("certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), " +
					"the provided certificates were both of the same type")
			}
		},
	}
}

// pem returns a PEM text, "" when the field is null or a reference.
func pem(tree map[string]any, name string) string {
	s, _ := tree[name].(string)
	if isReference(s) {
		return ""
	}
	return s
}

// caCertificateDigest computes cert_digest, by which the same certificate is refused twice.
func caCertificateDigest() rule {
	const digest = "cert_digest"
	return rule{
		reads: []string{"cert", digest},
		check: func(b *build, tree map[string]any, p problems) {
			cert, _ := tree["cert"].(string)
			want := format.Digest(cert)
			if given, ok := b.doc[digest].(string); ok && given != want {
				p.field(digest, "does not match the certificate")
			}
			tree[digest] = want
		},
	}
}

// licensePayload refuses what is no license, and says what is wrong without a word of it.
func licensePayload() rule {
	const payload = "payload"
	return rule{
		reads: []string{payload},
		check: func(_ *build, tree map[string]any, p problems) {
			text, _ := tree[payload].(string)
			if _, err := licensetext.Parse(text); err != nil {
				p.field(payload, "not a license: the text "+err.Error())
			}
		},
	}
}

const (
	ttl       = "ttl"
	expiresAt = "expires_at"
)

// keyTTL turns ttl, seconds from now, into the time at which a key ends. Zero means that it does not end.
func keyTTL() rule {
	return rule{finish: func(b *build, m protoreflect.Message) {
		end := b.entity.Field(expiresAt).desc
		v, given := b.doc[ttl]
		m.Clear(b.entity.Field(ttl).desc)
		if !given && b.how == Update {
			return // base's has been kept
		}
		m.Clear(end)
		if seconds, ok := toInt(v); ok && seconds > 0 {
			m.Set(end, protoreflect.ValueOfInt64(b.now.Unix()+seconds))
		}
	}}
}
