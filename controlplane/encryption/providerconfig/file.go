package providerconfig

import (
	"errors"
	"fmt"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secretfile"
)

// maxBytes is far more than a file of providers takes.
const maxBytes = 1 << 20

// Text is a file as it lies there. Who asked for it wipes it.
type Text struct {
	Path  string
	Bytes []byte
	open  error // that others may read it
}

// Read reads a file. It fails with fault.Invalid.
func Read(path string) (Text, error) {
	text, err := secretfile.ReadAny(path, maxBytes)
	if err != nil {
		return Text{}, fault.New(fault.Invalid, "providerconfig.Read", "encryption_provider_config", err)
	}
	return Text{path, text.Data, text.Open}, nil
}

// Wipe forgets the text.
func (t Text) Wipe() { clear(t.Bytes) }

// Hash is how the text is known from another.
func (t Text) Hash() string { return Hash(t.Bytes) }

// Parse reads the text. A file that holds keys and that others may read is refused as well as one that is wrong: both are
// told at once.
func (t Text) Parse(options Options) (*Config, error) {
	config, err := Parse(t.Path, t.Bytes, options)
	if t.open == nil || err == nil && !config.holdsKeys() {
		return config, err
	}
	open := fmt.Errorf("it holds keys, and %w", t.open)
	if err == nil {
		return nil, fault.New(fault.Invalid, "providerconfig.Parse", "encryption_provider_config", open)
	}
	if problems, ok := errors.AsType[*Problems](err); ok && problems.secrets {
		err = fault.New(fault.Invalid, "providerconfig.Parse", "encryption_provider_config", errors.Join(problems, open))
	}
	return nil, err
}

func (c *Config) holdsKeys() bool {
	for _, entry := range c.Entries {
		for _, p := range entry.Providers {
			if len(p.Keys) > 0 {
				return true
			}
		}
	}
	return false
}
