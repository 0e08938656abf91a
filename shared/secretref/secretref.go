// Package secretref reads references to values that are kept elsewhere. It looks nothing up.
//
// A reference stands where a value would:
//
//	{vault://<vault>/<secret>[/<json key>][?ttl=<seconds>&neg_ttl=…&resurrect_ttl=…][#<version>]}
//	{kvm://<map>/<key>}
//
// The vault is the prefix of a vault entity or a kind of vault. Its secret is a path: of more than one segment the last one
// is the JSON key, and a slash at the end says that there is none. Of a map everything behind the first slash is the key.
// Segments are percent-encoded (RFC 3986 §2.1); braces, '?', '#' and what is not printable has to be.
//
// Reading is strict: what begins as a reference and is none is refused, for it would else be used as the secret itself. Errors
// say what is wrong and repeat nothing of the text, which may be a secret in the wrong place.
package secretref

import (
	"bytes"
	"strings"
	"time"
)

// The schemes of references.
const (
	Vault = "vault"
	KVM   = "kvm"
)

const (
	openVault = "{vault://"
	openKVM   = "{kvm://"

	// MaxBytes bounds the text of a reference.
	MaxBytes = 8192
)

// Reference is what a reference says. References are comparable.
type Reference struct {
	Scheme string // Vault or KVM
	Place  string // the vault's prefix or kind; the map's name
	Secret string // the path of the secret, decoded; the map's key
	Field  string // the JSON key within the secret, "" for the whole
	// What the reference asks for instead of what its vault says; 0 where it says nothing.
	TTL, NegativeTTL, ResurrectTTL time.Duration
	Version                        int // 0: the newest
}

// Is says whether the whole text has the outer form of one reference. It may still be wrong within: see [Parse].
func Is(text string) bool {
	return Meant(text) && text[len(text)-1] == '}' && !strings.ContainsAny(text[1:len(text)-1], "{}")
}

// Meant says whether the text begins as a reference. In a place that takes references it is one or wrong.
func Meant(text string) bool {
	return strings.HasPrefix(text, openVault) || strings.HasPrefix(text, openKVM)
}

// Within says whether something that begins as a reference stands somewhere in data.
func Within(data []byte) bool {
	return bytes.Contains(data, []byte(openVault)) || bytes.Contains(data, []byte(openKVM))
}

// String writes the reference; [Parse] reads it again.
func (r Reference) String() string {
	var b strings.Builder
	b.WriteString("{" + r.Scheme + "://" + escape(r.Place, r.Scheme == KVM) + "/")
	if r.Scheme == KVM {
		b.WriteString(escape(r.Secret, false) + "}")
		return b.String()
	}
	b.WriteString(escape(r.Secret, false))
	switch {
	case r.Field != "":
		b.WriteString("/" + escape(r.Field, true))
	case strings.Contains(r.Secret, "/"):
		b.WriteString("/")
	}
	r.writeTimes(&b)
	return b.String()
}
