package record

import (
	"bytes"
	"iter"
	"strings"
)

// How stored values begin, by who wrote them. All but the keyring's are Kubernetes' own prefixes, which a name
// follows and a colon.
const (
	KeyringPrefix   = "$ke$1$-" // then the key's id and "-"
	KMS2Prefix      = "k8s:enc:kms:v2:"
	KMS1Prefix      = "k8s:enc:kms:v1:"
	AESGCMPrefix    = "k8s:enc:aesgcm:v1:"
	AESCBCPrefix    = "k8s:enc:aescbc:v1:"
	SecretboxPrefix = "k8s:enc:secretbox:v1:"
)

const (
	// KeyIDLength is how long a key's id is, in the keyring's values and behind the name of a KMS v2 provider.
	KeyIDLength = 8
	// MaxProviderName is how long a name in a prefix may be.
	MaxProviderName = 64

	keyringFamily    = "$ke$"
	kubernetesFamily = "k8s:enc:"
)

// IsSealed reports whether text claims to be some provider's, well-formed or not, and so is no plaintext.
func IsSealed(text string) bool {
	return strings.HasPrefix(text, keyringFamily) || strings.HasPrefix(text, kubernetesFamily)
}

// MarkOf says who wrote a stored value and under which key, by its form alone:
//
//	Kj3aQ0Zx                          the keyring, and the id of the key
//	k8s:enc:kms:v2:<name>:<key id>    a KMS v2 provider, and the id of the seed
//	k8s:enc:kms:v1:<name>             a KMS v1 provider
//	k8s:enc:aesgcm:v1:<key>           a key of a file; aescbc and secretbox likewise
//	$ke$, k8s:enc:                    something that is none of these, and no plaintext
//	                                  nothing: a plaintext
//
// The mark is a part of text, so that telling it costs nothing. Databases count by the same rules.
func MarkOf(text string) string {
	switch {
	case strings.HasPrefix(text, KeyringPrefix):
		const begin, end = len(KeyringPrefix), len(KeyringPrefix) + KeyIDLength
		if len(text) > end && text[end] == '-' {
			return text[begin:end]
		}
		return keyringFamily
	case strings.HasPrefix(text, keyringFamily):
		return keyringFamily
	case !strings.HasPrefix(text, kubernetesFamily):
		return ""
	case strings.HasPrefix(text, KMS2Prefix):
		if end := nameEnd(text, len(KMS2Prefix)); end > 0 && len(text) > end+KeyIDLength {
			return text[:end+1+KeyIDLength]
		}
		return kubernetesFamily
	}
	for _, prefix := range [...]string{AESGCMPrefix, KMS1Prefix, AESCBCPrefix, SecretboxPrefix} {
		if strings.HasPrefix(text, prefix) {
			if end := nameEnd(text, len(prefix)); end > 0 {
				return text[:end]
			}
		}
	}
	return kubernetesFamily
}

// SealedIn yields the strings of a JSON text that claim to be sealed, each as far as [MarkOf] looks. JSON escapes none of
// the signs that those begin with; a quote that is escaped begins no string.
func SealedIn(body []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, family := range [...]string{`"` + keyringFamily, `"` + kubernetesFamily} {
			for at := 0; ; at++ {
				i := bytes.Index(body[at:], []byte(family))
				if i < 0 {
					break
				}
				if at += i; at > 0 && body[at-1] == '\\' {
					continue
				}
				text := string(body[at+1 : min(len(body), at+1+longestMark)])
				text, _, _ = strings.Cut(text, `"`)
				if !yield(text) {
					return
				}
			}
		}
	}
}

// longestMark is more than any mark and the sign behind it take.
const longestMark = len(SecretboxPrefix) + MaxProviderName + 1 + KeyIDLength + 1

// nameEnd finds the colon behind the name that begins at some place; 0: there is no name.
func nameEnd(text string, begin int) int {
	n := strings.IndexByte(text[begin:min(len(text), begin+MaxProviderName+1)], ':')
	if n < 1 {
		return 0
	}
	return begin + n
}

// KeyOf returns the id of the ring's key that a mark names, "" where it names none.
func KeyOf(mark string) string {
	switch {
	case strings.HasPrefix(mark, KMS2Prefix) && len(mark) > KeyIDLength:
		return mark[len(mark)-KeyIDLength:]
	case len(mark) == KeyIDLength && mark != kubernetesFamily:
		return mark
	}
	return ""
}

// PrefixOf returns how the values of a mark begin: what a provider that reads them is known by.
func PrefixOf(mark string) string {
	switch {
	case mark == "", mark == keyringFamily, mark == kubernetesFamily:
		return mark
	case strings.HasPrefix(mark, KMS2Prefix):
		return mark[:len(mark)-KeyIDLength]
	case strings.HasPrefix(mark, kubernetesFamily):
		return mark + ":"
	}
	return KeyringPrefix
}
