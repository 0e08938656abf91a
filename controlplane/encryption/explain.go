package encryption

import (
	"strings"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// Written says who wrote a value, or would.
type Written struct {
	Provider string `json:"provider"`         // "keyring", "kms v2", "kms v1", "aesgcm", "aescbc", "secretbox", "identity", or "unknown"
	Name     string `json:"name,omitempty"`   // of a kms provider
	Key      string `json:"key_id,omitempty"` // id, or name in a file
	Mark     string `json:"mark,omitempty"`   // as it stands in the database
}

// Explanation says why a stored value is as it is. It holds nothing of what the value says.
type Explanation struct {
	Written
	Readable bool    `json:"readable"` // a provider of the table reads its form; whether it opens is another matter
	Stale    bool    `json:"stale"`
	Why      string  `json:"why"` // it is stale or not
	Writer   Written `json:"writer"`
	Origin   string  `json:"origin"`            // what says that this is the writer: a setting, or a place in a file
	Refused  string  `json:"refused,omitempty"` // why nothing can be written now
}

// Explain looks at a text as it is stored in a table, by its form alone.
func (c *Cipher) Explain(table, text string) Explanation {
	chains := c.chains.Load()
	chain := chains.Of(table)
	mark := record.MarkOf(text)
	writer, err := chain.writer().Mark()
	e := Explanation{
		Written: Describe(mark), Readable: chains.Readable(table, mark), Stale: chain.stale(text),
		Writer: Describe(writer), Origin: chain.Origin,
	}
	if writer == "" && chain.seals() { // it has no key yet
		e.Writer = describePrefix(chain.writer().Prefix())
	}
	if e.Readable && mark == "" {
		e.Readable = c.readsPlaintext(chain)
	}
	if err != nil {
		e.Refused = fault.Text(err)
	}
	e.Why = e.why()
	return e
}

func (e *Explanation) why() string {
	switch {
	case !e.Readable && e.Mark == "":
		return "it is a plaintext, which no provider of its table reads"
	case !e.Readable:
		return "no provider of its table reads what " + e.Written.String() + " wrote"
	case !e.Stale && e.Mark == "":
		return "the first provider of its table is identity, which writes in clear"
	case !e.Stale:
		return "the first provider of its table wrote it, under the key that it writes under now"
	case e.Provider == e.Writer.Provider && e.Name == e.Writer.Name:
		return "its provider writes under another key now"
	}
	return "another provider is the first of its table"
}

// String names provider and key for people.
func (w Written) String() string {
	return strings.Join(strings.Fields(w.Provider+" "+w.Name+" "+w.Key), " ")
}

// Describe takes a mark apart.
func Describe(mark string) Written {
	w := describePrefix(record.PrefixOf(mark))
	w.Mark = mark
	if id := record.KeyOf(mark); id != "" {
		w.Key = id
	}
	return w
}

func describePrefix(prefix string) Written {
	if prefix == "" {
		return Written{Provider: "identity"}
	}
	if prefix == record.KeyringPrefix {
		return Written{Provider: "keyring"}
	}
	for _, kind := range []struct {
		provider, begin string
		named           bool
	}{
		{"kms v2", record.KMS2Prefix, true},
		{"kms v1", record.KMS1Prefix, true},
		{"aesgcm", record.AESGCMPrefix, false},
		{"aescbc", record.AESCBCPrefix, false},
		{"secretbox", record.SecretboxPrefix, false},
	} {
		name, ok := strings.CutPrefix(prefix, kind.begin)
		if !ok {
			continue
		}
		name = strings.TrimSuffix(name, ":")
		if kind.named {
			return Written{Provider: kind.provider, Name: name}
		}
		return Written{Provider: kind.provider, Key: name}
	}
	return Written{Provider: "unknown"}
}
