package settings

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretref"
)

// kind is how a field's text is read. Its text names it in help and in the reference.
type kind string

const (
	kindText     kind = "text"
	kindNumber   kind = "number"
	kindBoolean  kind = "on or off"
	kindDuration kind = "duration"
	kindList     kind = "list"
	kindSecret   kind = "secret"
	kindCustom   kind = "special"
)

// field is one setting as its struct declares it.
type field struct {
	key        string
	aliases    []string // Kong's names for it
	kind       kind
	fallback   string // the default's text
	oneOf      []string
	min, max   string
	unit       string
	path       string
	clear      bool // of listeners: what is served there speaks no TLS
	help       string
	section    string
	value      reflect.Value
	fileInto   reflect.Value       // of a secret: where the path of its file goes; may be invalid
	mayName    bool                // of a secret: its text may be the path of a file that holds it
	literal    bool                // of a secret: it cannot be a reference
	sourceInto reflect.Value       // of a secret: where the [Source] of a reference's next values goes; may be invalid
	reference  secretref.Reference // what it is, where it is one
	late       bool                // of a secret: its file may be written after the start, since whoever uses it reads it
}

// fieldsOf walks the struct. Its errors are mistakes in the struct, so only tests see them.
func fieldsOf(into any) ([]*field, error) {
	pointer := reflect.ValueOf(into)
	if pointer.Kind() != reflect.Pointer || pointer.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("settings go into a pointer to a struct, not %T", into)
	}
	fields, err := walk(pointer.Elem(), "")
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, f := range fields {
		for _, name := range f.names() {
			if seen[name] {
				return nil, fmt.Errorf("two fields are named %s", name)
			}
			seen[name] = true
		}
	}
	return fields, nil
}

func walk(structure reflect.Value, section string) (fields []*field, err error) {
	for i := range structure.NumField() {
		declared, value := structure.Type().Field(i), structure.Field(i)
		tag := declared.Tag
		key := tag.Get("key")
		if key == "-" {
			continue
		}
		if key == "" {
			if value.Kind() != reflect.Struct {
				return nil, fmt.Errorf("field %s has no key", declared.Name)
			}
			heading := section
			if own := tag.Get("section"); own != "" {
				heading = own
			}
			below, err := walk(value, heading)
			if err != nil {
				return nil, err
			}
			fields = append(fields, below...)
			continue
		}
		f := &field{
			key: key, fallback: tag.Get("default"), min: tag.Get("min"), max: tag.Get("max"), unit: tag.Get("unit"),
			path: tag.Get("path"), clear: tag.Get("clear") == "true", help: tag.Get("help"), section: section, value: value,
		}
		if f.help == "" {
			return nil, fmt.Errorf("%s has no help", key)
		}
		if names := tag.Get("kong"); names != "" {
			f.aliases = strings.Split(names, ",")
		}
		if words := tag.Get("oneof"); words != "" {
			f.oneOf = strings.Split(words, "|")
		}
		if f.kind, err = kindOf(value); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if name := tag.Get("file"); name != "" {
			f.fileInto = structure.FieldByName(name)
		}
		if name := tag.Get("source"); name != "" {
			f.sourceInto = structure.FieldByName(name)
		}
		f.mayName, f.late, f.literal = tag.Get("names") == "file", tag.Get("late") == "true", tag.Get("literal") == "true"
		if f.path == "prefix" && f.kind != kindText {
			return nil, fmt.Errorf("%s: only a text can be a path below the prefix", key)
		}
		fields = append(fields, f)
	}
	return fields, nil
}

func kindOf(value reflect.Value) (kind, error) {
	if _, ok := value.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return kindCustom, nil
	}
	switch value.Interface().(type) {
	case string:
		return kindText, nil
	case bool:
		return kindBoolean, nil
	case int, int64:
		return kindNumber, nil
	case time.Duration:
		return kindDuration, nil
	case []string:
		return kindList, nil
	case secret.Bytes:
		return kindSecret, nil
	}
	return "", fmt.Errorf("a %s cannot be a setting", value.Type())
}

// names are all names under which the field can be given.
func (f *field) names() []string {
	names := append([]string{f.key}, f.aliases...)
	if f.kind == kindSecret {
		names = append(names, f.fileKey())
	}
	return names
}

func (f *field) fileKey() string { return f.key + "_file" }
