package settings

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretfile"
	"github.com/keepgate/keepgate/shared/secretref"
)

// maxSecretFile bounds what <key>_file reads: whatever is larger is no password.
const maxSecretFile = 64 << 10

// writeSecret takes a secret as it stands, reads it from its file, or notes that it is a reference.
func (l *loader) writeSecret(f *field, one given) (problem, remedy string) {
	if secretref.Within([]byte(one.text)) || nearlyReference(one.text) {
		return l.writeReference(f, one)
	}
	if one.name != f.fileKey() {
		f.value.Set(reflect.ValueOf(secret.Take([]byte(one.text))))
		if l.file != "" && strings.HasPrefix(one.origin, l.file+":") && !(f.mayName && isFile(one.text)) {
			l.warn("%s stands in the settings file itself (%s); %s = <path> keeps it apart", f.key, one.origin, f.fileKey())
		}
		return "", ""
	}
	l.others.file(one.text)
	if f.fileInto.IsValid() {
		path, err := filepath.Abs(one.text)
		if err != nil {
			return fmt.Sprintf("%s names no file: '%s'", one.name, one.text), "give an absolute path"
		}
		f.fileInto.SetString(path)
	}
	data, notice, err := readSecret(one.text)
	open, others := errors.AsType[*secretfile.OpenError](err)
	switch {
	case err != nil && f.late:
		l.warn("%s cannot be used (%v), and is read again whenever it is needed; write the secret into it, with mode 0600", one.name, err)
		return "", ""
	case others:
		return fmt.Sprintf("%s is open to others (mode %04o): '%s'", one.name, open.Mode, one.text), open.Mend()
	case errors.Is(err, errEmpty):
		return fmt.Sprintf("%s is an empty file: '%s'", one.name, one.text), "write the secret into it"
	case err != nil:
		return fmt.Sprintf("%s names no readable file of at most %d bytes: '%s'", one.name, maxSecretFile, one.text), "check the path and its permissions"
	case secretref.Within(data):
		clear(data)
		return fmt.Sprintf("%s names a file that holds a reference, which nobody would follow: '%s'", one.name, one.text), "write the secret itself into it"
	case notice != "":
		l.warn("%s: %s", one.origin, notice)
	}
	f.value.Set(reflect.ValueOf(secret.Take(data)))
	return "", ""
}

var errEmpty = errors.New("it is an empty file")

// readSecret reads a file without the end of its line.
func readSecret(path string) (data []byte, notice string, err error) {
	data, notice, err = secretfile.Read(path, maxSecretFile)
	data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	if err == nil && len(data) == 0 {
		err = errEmpty
	}
	return data, notice, err
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// nearlyReference says that a text was most likely meant as one: vault://… without its braces, or in upper case.
func nearlyReference(text string) bool {
	text = strings.TrimLeft(strings.ToLower(text), "{ \t\"'")
	return strings.HasPrefix(text, "vault://") || strings.HasPrefix(text, "kvm://")
}
