package guard

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretfile"
)

const (
	minTokenSize = 16 // what nobody guesses: the random text that makeToken writes has 26 letters
	maxTokenSize = 4096
)

// LoadToken reads the admin token from a file, and makes one if there is none; the notice then says so.
func LoadToken(path string) (token secret.Bytes, notice string, err error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := makeToken(path); err != nil {
			return token, "", refused(path, err)
		}
		notice = "the admin token was made in " + path + "; who has it may reveal, export and recover keys"
	}
	data, open, err := secretfile.Read(path, maxTokenSize)
	if _, others := errors.AsType[*secretfile.OpenError](err); others {
		err = fmt.Errorf("%w, and replace the token", err)
	}
	if err != nil {
		return token, "", refused(path, err)
	}
	if notice == "" {
		notice = open
	}
	if data = bytes.TrimSpace(data); len(data) < minTokenSize {
		return token, "", refused(path, fmt.Errorf("the token is shorter than %d characters; remove the file to get a new one", minTokenSize))
	}
	return secret.Take(data), notice, nil
}

// makeToken writes a new token. The file appears whole or not at all, and never replaces one.
func makeToken(path string) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".admin-token-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.WriteString(rand.Text() + "\n")
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err != nil {
		return err
	}
	if err := os.Link(temporary.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func refused(path string, err error) error {
	return fault.Newf(fault.Invalid, "admin.LoadToken", "admin_token_file", "%s: %w", path, err)
}
