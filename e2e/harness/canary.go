package harness

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Traces are the forms in which a secret could lie somewhere: as bytes, in hexadecimal of either case, and in
// both base64 alphabets at each of the three offsets that a base64 text can have it at.
func Traces(secret string) map[string][]byte {
	hexadecimal := hex.EncodeToString([]byte(secret))
	traces := map[string][]byte{
		"bytes": []byte(secret), "hex": []byte(hexadecimal), "HEX": []byte(strings.ToUpper(hexadecimal)),
	}
	for offset := range 3 {
		padded := append(make([]byte, offset), secret...)
		padded = padded[:len(padded)-len(padded)%3] // the last group depends on what follows
		first := (offset*8 + 5) / 6                 // the first characters depend on what went before
		traces[fmt.Sprintf("base64 at %d", offset)] = []byte(base64.RawStdEncoding.EncodeToString(padded)[first:])
		traces[fmt.Sprintf("base64url at %d", offset)] = []byte(base64.RawURLEncoding.EncodeToString(padded)[first:])
	}
	return traces
}

// FindSecret says where below a folder a secret lies in any form; "" when nowhere. It must have 12 characters
// or more, so that none of its forms occurs by chance. A database at work makes and removes files, and what one
// held may have moved to a file that was passed already: only a search during which none vanished counts.
func FindSecret(t T, folder, secret string) (where string) {
	t.Helper()
	if len(secret) < 12 {
		t.Fatalf("a secret of %d characters may be found by chance", len(secret))
	}
	for end := time.Now().Add(Patience); ; {
		where, files, err := search(folder, secret)
		switch {
		case errors.Is(err, fs.ErrNotExist) && where == "" && files > 0 && time.Now().Before(end):
			continue
		case err != nil && where == "":
			t.Fatalf("searching %s: %v", folder, err)
		case files == 0:
			t.Fatalf("%s holds no file: nothing was searched", folder)
		}
		return where
	}
}

// search reads all files below a folder; files counts those that it read.
func search(folder, secret string) (where string, files int, err error) {
	traces := Traces(secret)
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for form, trace := range traces {
			if bytes.Contains(data, trace) {
				where = fmt.Sprintf("%s holds it as %s", path, form)
			}
		}
		return nil
	})
	return where, files, err
}

// NoSecretInLogs fails when any process of the cluster has written a secret in any form, to its log or its
// access log.
func (c *Cluster) NoSecretInLogs(secrets ...string) {
	c.T.Helper()
	logs := c.Logs()
	written, err := filepath.Glob(filepath.Join(c.Folder, "*", "logs", "*"))
	if err != nil {
		c.T.Fatalf("%v", err)
	}
	for _, path := range written {
		text, err := os.ReadFile(path)
		if err != nil {
			c.T.Fatalf("%v", err)
		}
		logs[path] = string(text)
	}
	for name, log := range logs {
		for _, secret := range secrets {
			for form, trace := range Traces(secret) {
				if strings.Contains(log, string(trace)) {
					c.T.Fatalf("the log of %s holds a secret as %s", name, form)
				}
			}
		}
	}
}
