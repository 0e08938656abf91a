package settings

import (
	"bytes"
	"context"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretref"
)

// Reference is a secret setting that says where its value is kept.
type Reference struct {
	Key, Origin string
	To          secretref.Reference
	field       *field
}

// Source gives the value of a secret that may be replaced where it is kept. An error beside a value says why a newer one could not be had.
type Source interface {
	Known() (secret.Bytes, error)                     // the newest that is known, at once
	Newest(ctx context.Context) (secret.Bytes, error) // the one that is there now
}

// Fetcher is a settings struct that knows where references lead. Fetch gives every one of [Loaded.References] its value, or none of them
// one; its error is of kind fault.Invalid.
type Fetcher interface {
	Fetch(ctx context.Context, loaded *Loaded) error
}

// References are the settings that wait for their values.
func (l *Loaded) References() []Reference { return l.references }

// Private is where secrets of settings come from: what they refer to and the files that hold them, those of another program that is told
// in the same place among them.
func (l *Loaded) Private() (references []secretref.Reference, files []string) {
	references, files = slices.Clone(l.others.references), slices.Clone(l.others.files)
	for _, r := range l.references {
		references = append(references, r.To)
	}
	return references, files
}

// others are secrets that settings of another program come from, and the files of this one's.
type others struct {
	references []secretref.Reference
	files      []string
}

// note takes what a setting of another program says.
func (o *others) note(name, text string) {
	for part := range secretref.Cut(text) {
		if part.IsReference() {
			o.references = append(o.references, part.Reference)
		}
	}
	if strings.HasSuffix(name, "_file") || strings.HasSuffix(name, "_key") {
		o.file(text)
	}
}

func (o *others) file(path string) {
	if absolute, err := filepath.Abs(path); err == nil {
		o.files = append(o.files, absolute)
	}
}

// Wrong says why a value cannot be the setting's; "" when it can.
func (r Reference) Wrong(value secret.Bytes) (why string) {
	value.Reveal(func(data []byte) {
		if r.field.mayName && !bytes.Contains(data, []byte("-----BEGIN")) { // what could be a path would be read
			why = "it is no PEM text"
		}
	})
	return why
}

// Give takes the setting's value, and what gives its next ones.
func (r Reference) Give(value secret.Bytes, next Source) {
	r.field.value.Set(reflect.ValueOf(value))
	if r.field.sourceInto.IsValid() {
		r.field.sourceInto.Set(reflect.ValueOf(&next).Elem())
	}
}

// writeReference notes that a secret is a reference. It is for every text that holds something like one.
func (l *loader) writeReference(f *field, one given) (problem, remedy string) {
	const form = "{vault://<env, file or hcv>/<secret>/<member>}"
	inFile := "give the value in a file with " + f.fileKey()
	if f.literal {
		return f.key + " is a reference, but it is what references are looked up with", inFile
	}
	if one.name == f.fileKey() {
		return one.name + " is a reference, where the path of a file belongs", "give it as " + f.key
	}
	to, err := secretref.Parse(one.text)
	switch {
	case !secretref.Within([]byte(one.text)):
		return f.key + " looks like a reference and is none", "write " + form + ", or " + inFile
	case !secretref.Meant(one.text): // in quotes that nobody took away, or in the middle of a URL
		return f.key + " holds a reference and something else, which would be the secret as it stands", "write " + form + " alone, or " + inFile
	case err != nil:
		return f.key + ": " + err.Error(), "write " + form + ", or " + inFile
	case to.Scheme != secretref.Vault:
		return f.key + " refers to a key-value map, which settings cannot", "write " + form + ", or " + inFile
	}
	if to.TTL != 0 || to.NegativeTTL != 0 || to.ResurrectTTL != 0 {
		l.warn("%s: the times of a reference count in entities alone", f.key)
		to.TTL, to.NegativeTTL, to.ResurrectTTL = 0, 0, 0
	}
	f.reference = to
	l.references = append(l.references, Reference{f.key, one.origin, to, f})
	return "", ""
}

// fetch gives references their values. Where nobody can, they are faults: an empty secret would be taken for none.
func fetch(ctx context.Context, into any, loaded *Loaded) error {
	if len(loaded.references) == 0 {
		return nil
	}
	fetcher, can := into.(Fetcher)
	if !can {
		return fault.Newf(fault.Internal, "settings.Load", loaded.references[0].Key, "nothing here looks references up")
	}
	return fetcher.Fetch(ctx, loaded)
}
