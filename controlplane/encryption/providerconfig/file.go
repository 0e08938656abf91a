package providerconfig

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/keepgate/keepgate/shared/fault"
)

// maxBytes is far more than a file of providers takes.
const maxBytes = 1 << 20

// Text is a file as it lies there. Who asked for it wipes it.
type Text struct {
	Path  string
	Bytes []byte
	mode  os.FileMode
}

// Read reads a file. It fails with fault.Invalid.
func Read(path string) (Text, error) {
	text, err := read(path)
	if err != nil {
		return Text{}, fault.New(fault.Invalid, "providerconfig.Read", "encryption_provider_config", err)
	}
	return text, nil
}

func read(path string) (Text, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe without a writer is refused, and not waited for
	if err != nil {
		return Text{}, err
	}
	defer file.Close() // only read from
	info, err := file.Stat()
	if err != nil {
		return Text{}, err
	}
	if !info.Mode().IsRegular() {
		return Text{}, fmt.Errorf("%s is no regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	if err != nil {
		return Text{}, err
	}
	if len(data) > maxBytes {
		clear(data)
		return Text{}, fmt.Errorf("%s has more than %d bytes", path, maxBytes)
	}
	return Text{Path: path, Bytes: data, mode: info.Mode().Perm()}, nil
}

// Wipe forgets the text.
func (t Text) Wipe() { clear(t.Bytes) }

// Hash is how the text is known from another.
func (t Text) Hash() string { return Hash(t.Bytes) }

// Parse reads the text. A file that holds keys and that others may read is refused as well as one that is wrong: both are
// told at once.
func (t Text) Parse(options Options) (*Config, error) {
	config, err := Parse(t.Path, t.Bytes, options)
	if t.mode&0o077 == 0 || err == nil && !config.holdsKeys() {
		return config, err
	}
	open := fmt.Errorf("%s: mode %04o lets others read its keys; run: chmod 600 %s", t.Path, t.mode, t.Path)
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
