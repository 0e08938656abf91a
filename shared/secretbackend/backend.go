// Package secretbackend reads secrets where they are kept: in environment variables, in files, in HashiCorp Vault and OpenBao. Another
// place joins as one more [Backend]. It keeps nothing that it has read, and who may read what is for its callers to decide.
package secretbackend

import (
	"bytes"
	"context"
	"encoding/json"
	"unicode/utf8"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// Backend reads secrets where they are kept. It is safe for concurrent use.
type Backend interface {
	// Read returns fields of one secret, all as they were at one moment; the field "" is the whole of it. version 0 is the newest.
	// fault.NotFound says that there is no such secret; any other error leaves open what it is.
	Read(ctx context.Context, secret string, version int, fields []string) (map[string]Field, error)
	// Close ends what the backend has begun, within a few seconds.
	Close()
}

// Field is what was read of a field: a value, or why there is none.
type Field struct {
	Value secret.Bytes
	Fault string
}

// maxValue bounds one value.
const maxValue = 512 << 10

// The faults of fields.
const (
	NoMember   = "the secret has no such member"
	noText     = "it is no text"
	emptyValue = "it is empty"
	tooLong    = "it is too long"
)

// field makes a Field of bytes, which it owns.
func field(data []byte) Field {
	why := ""
	switch {
	case len(data) == 0:
		why = emptyValue
	case len(data) > maxValue:
		why = tooLong
	case !utf8.Valid(data):
		why = noText
	default:
		return Field{Value: secret.Take(data)}
	}
	clear(data)
	return Field{Fault: why}
}

// fieldsOf reads the fields of a text: the whole, or members of the JSON object that it is. It owns data.
func fieldsOf(data []byte, names []string) map[string]Field {
	defer clear(data)
	found := make(map[string]Field, len(names))
	var members map[string]json.RawMessage
	for _, name := range names {
		if name == "" {
			found[name] = field(bytes.Clone(data))
			continue
		}
		if members == nil {
			members = map[string]json.RawMessage{}
			if json.Unmarshal(data, &members) != nil {
				found[name] = Field{Fault: "the secret is no JSON object"}
				members = nil
				continue
			}
		}
		found[name] = member(members[name])
	}
	for _, raw := range members {
		clear(raw)
	}
	return found
}

// member reads a member of a JSON object: a text as it is, a number or a boolean as it is written.
func member(raw json.RawMessage) Field {
	var text string
	switch {
	case len(raw) == 0 || raw[0] == 'n':
		return Field{Fault: NoMember}
	case raw[0] == '"' && json.Unmarshal(raw, &text) == nil:
		return field([]byte(text))
	case raw[0] == '{' || raw[0] == '[' || raw[0] == '"':
		return Field{Fault: noText}
	}
	return field(bytes.Clone(raw))
}

// failed makes the error of a backend. Which secret it is about its caller knows, and tells or does not.
func failed(kind fault.Kind, format string, args ...any) error {
	return fault.Newf(kind, "secretbackend.Read", "", format, args...)
}
