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
)

// minTokenSize is the least that nobody guesses: the random text that makeToken writes has 26 letters.
const minTokenSize = 16

// LoadToken reads the admin token from a file that only its owner may read, and makes one if there is none;
// the notice then says so.
func LoadToken(path string) (token secret.Bytes, notice string, err error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := makeToken(path); err != nil {
			return token, "", refused(path, err)
		}
		notice = "the admin token was made in " + path + "; who has it may reveal, export and recover keys"
	}
	file, err := os.Open(path)
	if err != nil {
		return token, "", refused(path, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return token, "", refused(path, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return token, "", refused(path, fmt.Errorf("its mode is %#o; others than its owner can read it: chmod 600 and replace the token", info.Mode().Perm()))
	}
	if !info.Mode().IsRegular() || info.Size() > 4096 {
		return token, "", refused(path, errors.New("it is no file with a token"))
	}
	data := make([]byte, info.Size())
	if _, err := file.ReadAt(data, 0); err != nil && len(data) > 0 {
		return token, "", refused(path, err)
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
