// Package settings reads what a process is told at its start: a settings file, the environment and flags,
// into one struct a binary.
//
// A struct's fields declare everything in their tags, and loading, the errors, --help, the reference page
// and the log of effective settings all derive from them:
//
//	Port int `key:"pg_port" default:"5432" min:"1" max:"65535" help:"The port of the PostgreSQL server."`
//
//	key      the name: pg_port in a file, KEEPGATE_PG_PORT in the environment, --pg-port as a flag
//	kong     other names that a kong.conf has for the same thing, comma-separated
//	default  the text used when nothing is given
//	oneof    the only words allowed, separated by |
//	min max  bounds of a number or a duration
//	unit     of a duration's bare number: ms, s
//	path     "file" (a path, never the content), "prefix" (a path, relative ones below the prefix)
//	clear    "true" refuses ssl: nothing that listens there speaks TLS
//	help     what it does, in a sentence or two
//	file     of a secret: the field that takes its file's path, of key "-", so that it can be read again
//	source   of a secret: the field, a [Source] of key "-", that gives the next values of what it refers to
//	literal  "true": of a secret, it cannot be a reference
//
// A field is a string, bool (on, off, true, false), int, int64, time.Duration, []string (by commas), a
// [secret.Bytes] (which <key>_file reads from a file), or reads itself as those of package values do.
// Structs without a key are sections: their section tag is a heading.
//
// From strong to weak: flags, KEEPGATE_* variables, KONG_* variables, the file, the default; an empty value
// counts as not given. Unknown names are refused with a suggestion, everywhere but under KONG_ and in a
// kong.conf: names that Kong knows and Keepgate has no use for are warned about and do not stop, unless they
// promise a protection that would then be missing. All that is
// wrong is reported at once. Nothing here opens sockets, makes folders, or checks that a file exists, but
// for the secrets that it reads. A secret that is a reference, {vault://…}, has no value until the struct,
// a [Fetcher], has fetched it.
package settings

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
)

// Sources says where settings come from. The zero value gives the defaults alone.
type Sources struct {
	File    string            // -c; it has to exist
	Search  []string          // used where File is empty: the first of these that exists
	Environ []string          // os.Environ()
	Flags   map[string]string // by key; only those that were given
}

// DefaultSearch is where a settings file is looked for when none is named.
func DefaultSearch() []string { return []string{"/etc/keepgate/keepgate.conf", "/etc/keepgate.conf"} }

// Setting is one setting in effect.
type Setting struct {
	Key    string
	Value  string // "[secret]" for secrets that are set; of one that is a reference, that
	Origin string // "default", "--pg-port", "KEEPGATE_PG_PORT", "keepgate.conf:12"
}

// Loaded says what came of a load, for the log at start and for the check command.
type Loaded struct {
	File     string    // the file that was read, or ""
	Settings []Setting // in the order of the struct
	Warnings []string  // whole sentences

	references []Reference
	others     others
}

// Load fills into, a pointer to a struct, from the sources. Its error is a [*Faults] that lists all there is
// to repair, of kind fault.Invalid.
func Load(into any, sources Sources) (*Loaded, error) {
	fields, err := fieldsOf(into)
	if err != nil {
		return nil, err
	}
	l := &loader{fields: fields, given: map[string]given{}, byName: map[string]*field{}}
	for _, f := range fields {
		for _, name := range f.names() {
			l.byName[name] = f
		}
	}
	l.readFile(sources)
	l.readEnvironment(sources.Environ)
	l.readFlags(sources.Flags)
	loaded := &Loaded{File: l.file, Settings: l.decode(), Warnings: l.warnings, references: l.references, others: l.others}
	if len(l.faults) > 0 {
		return nil, &Faults{List: l.faults}
	}
	return loaded, nil
}

// Log writes the effective settings, one line a setting that is not left at its default, and the warnings.
func (l *Loaded) Log(log *slog.Logger) {
	for _, warning := range l.Warnings {
		log.Warn(warning)
	}
	for _, setting := range l.Settings {
		if setting.Origin != originDefault {
			log.Info("setting", "key", setting.Key, "value", setting.Value, "origin", setting.Origin)
		}
	}
}

// Changed lists the settings of later that differ from these. A secret that changed does not show.
func (l *Loaded) Changed(later *Loaded) (changed []Setting) {
	before := make(map[string]string, len(l.Settings))
	for _, setting := range l.Settings {
		before[setting.Key] = setting.Value
	}
	for _, setting := range later.Settings {
		if setting.Value != before[setting.Key] {
			changed = append(changed, setting)
		}
	}
	return changed
}

// Effective lists every setting with its origin, for the check command.
func (l *Loaded) Effective() string {
	var text strings.Builder
	for _, setting := range l.Settings {
		fmt.Fprintf(&text, "%s = %s  # %s\n", setting.Key, strings.ReplaceAll(setting.Value, "#", `\#`), setting.Origin)
	}
	return text.String()
}

// isKongFile tells a kong.conf from a file of our own by its name: that is how it is given with -c.
func isKongFile(path string) bool { return strings.HasPrefix(filepath.Base(path), "kong") }
