package encryption

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"unicode/utf8"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// advisedWrites is after how many writes under one aesgcm key Kubernetes' documentation advises another.
const advisedWrites = 200_000

// StaticOptions tunes a static provider.
type StaticOptions struct {
	Log *slog.Logger // default: discard
	// AllowUnbound lets aescbc and secretbox write, whose values open at any place.
	AllowUnbound bool
}

// static seals under one key of a file. An entry of a file with several keys is as many providers, in their order.
type static struct {
	box     *aead.Box
	name    string
	prefix  string
	mark    string
	options StaticOptions
	written atomic.Int64 // by this process under this key
}

var errOpen = errors.New("message does not verify") // as package aead says it

// Static is the provider of one aesgcm, aescbc or secretbox key, which stays the caller's to wipe. It fails with
// fault.Invalid for a name that no prefix can hold and for material of a wrong length.
func Static(layout aead.Layout, name string, material secret.Bytes, options StaticOptions) (Provider, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	box, err := aead.NewBox(layout, material)
	if err != nil {
		return nil, err
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	begins := map[aead.Layout]string{
		aead.BoxGCM: record.AESGCMPrefix, aead.BoxCBC: record.AESCBCPrefix, aead.BoxSecretbox: record.SecretboxPrefix,
	}
	mark := begins[layout] + name
	return &static{box: box, name: name, prefix: mark + ":", mark: mark, options: options}, nil
}

func (s *static) Prefix() string { return s.prefix }

func (s *static) Seal(p aead.Place, plaintext string) (string, error) {
	if err := s.mayWrite(); err != nil {
		return "", err
	}
	if s.box.Binds() && s.written.Add(1) == advisedWrites { // GCM with random nonces
		s.options.Log.Warn("many values were written under one aesgcm key since the start; put another key before it",
			"key", s.name, "writes", advisedWrites)
	}
	return s.box.SealText(s.prefix, p, []byte(plaintext)), nil
}

func (s *static) Open(p aead.Place, text string) (string, error) {
	opened, err := s.box.OpenText(s.prefix, p, text)
	if err != nil {
		return "", err
	}
	// CBC opens one of 256 texts that it did not seal. No field holds what is not UTF-8 (the index key is no field), so
	// that such a text fails in the same words here, and no encoder chokes on it.
	if !s.box.Binds() && p != indexPlace && !utf8.Valid(opened) {
		return "", fault.New(fault.Corrupt, "aead.OpenText", placeName(p), errOpen)
	}
	return string(opened), nil
}

func (s *static) Mark() (string, error) { return s.mark, s.mayWrite() }

func (s *static) mayWrite() error {
	if s.box.Binds() || s.options.AllowUnbound {
		return nil
	}
	return fault.Newf(fault.Denied, "encryption.Seal", s.mark, "values of this provider are bound to no place, so that one copied to another row "+
		"opens there: set allow_unbound_providers = on, or let another provider write")
}

// CheckName refuses names of providers and keys that a prefix cannot hold, with fault.Invalid.
func CheckName(name string) error {
	good := name != "" && len(name) <= record.MaxProviderName
	for i := 0; good && i < len(name); i++ {
		c := name[i]
		good = c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '.' || c == '_' || c == '-'
	}
	if !good {
		return fault.Newf(fault.Invalid, "encryption.CheckName", "", "a name stands before each value: expected 1 to %d letters, digits, dots, hyphens and underscores", record.MaxProviderName)
	}
	return nil
}
