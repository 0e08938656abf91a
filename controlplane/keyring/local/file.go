package local

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretfile"
)

const (
	header      = "keepgate key file 1"
	maxFileSize = 4096
)

var errForm = errors.New(`not a key file: want the line "` + header + `" and a line with 32 bytes in base64`)

// readFile returns the key in the file at path.
func readFile(path string) (key secret.Bytes, notice string, err error) {
	text, notice, err := secretfile.Read(path, maxFileSize)
	if err != nil {
		return secret.Bytes{}, "", err
	}
	defer clear(text)
	key, err = parseFile(text)
	return key, notice, err
}

// parseFile reads the two lines. Line ends may be those of an editor on any system.
func parseFile(text []byte) (secret.Bytes, error) {
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	if string(bytes.TrimSuffix(first, []byte("\r"))) != header {
		return secret.Bytes{}, errForm
	}
	rest = bytes.TrimRight(rest, "\r\n")
	key := make([]byte, base64.StdEncoding.DecodedLen(len(rest)))
	n, err := base64.StdEncoding.Strict().Decode(key, rest)
	if err != nil || n != aead.KeySize || bytes.ContainsAny(rest, "\r\n") {
		return secret.Bytes{}, errForm
	}
	return secret.Take(key[:n]), nil
}

func formatFile(key secret.Bytes) (text []byte) {
	key.Reveal(func(data []byte) {
		text = append(base64.StdEncoding.AppendEncode([]byte(header+"\n"), data), '\n')
	})
	return text
}

// createFile makes the file at path with a new random key. It never replaces one: the complete file is
// linked to its name, which fails when the name is taken.
func createFile(path string) error {
	data := make([]byte, aead.KeySize)
	rand.Read(data) // never fails: crypto/rand ends the process instead
	key := secret.Take(data)
	defer key.Wipe()
	folder := filepath.Dir(path)
	temporary, err := os.CreateTemp(folder, ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	text := formatFile(key)
	defer clear(text)
	_, err = temporary.Write(text)
	if err := errors.Join(err, temporary.Chmod(0o600), temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	if err := os.Link(temporary.Name(), path); err != nil {
		return err
	}
	return syncFolder(folder)
}

// syncFolder makes the new name itself survive a power cut.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	err = folder.Sync()
	if errors.Is(err, fs.ErrInvalid) { // file systems that cannot
		err = nil
	}
	return errors.Join(err, folder.Close())
}
