package kms

import (
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/kmsclient"
)

// KeyIDOf is the key_id under which a row is wrapped.
func KeyIDOf(row record.Key) (string, error) {
	w, err := parse(row.Wrapped)
	return w.KeyID, err
}

// Encode and Parse are the stored form.
func Encode(api, provider string, w kmsclient.Wrapped) []byte {
	return wrapped{api, provider, w}.encode()
}

func Parse(text []byte) (api, provider string, w kmsclient.Wrapped, err error) {
	p, err := parse(text)
	return p.api, p.provider, p.Wrapped, err
}
