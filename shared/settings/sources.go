package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/shared/settings/conffile"
	"github.com/keepgate/keepgate/shared/spelling"
)

const (
	ownPrefix     = "KEEPGATE_"
	kongPrefix    = "KONG_"
	originDefault = "default"
)

// given is the strongest text that a source gave for a field.
type given struct {
	name   string // under which of the field's names
	text   string
	origin string
}

// loader carries one load from its sources to the struct.
type loader struct {
	fields     []*field
	byName     map[string]*field
	given      map[string]given // by the field's key
	file       string
	faults     []Fault
	warnings   []string
	references []Reference
	others     others
}

func (l *loader) fault(key, origin, problem, remedy string) {
	l.faults = append(l.faults, Fault{Key: key, Origin: origin, Problem: problem, Remedy: remedy})
}

func (l *loader) warn(format string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf(format, args...))
}

// source is one layer of settings; each overrides those that were read before it.
type source struct {
	kong   bool                        // Kong's: names unknown to us do not stop
	show   func(name string) string    // a key as it is written there
	origin func(name string) string    // how to find it again
	from   map[string]map[string]given // by field key, then by name: what this layer gave
}

// take notes one name and text of a layer.
func (l *loader) take(s *source, name, text string) {
	f, known := l.byName[name]
	switch {
	case known && text == "":
	case known:
		if s.from == nil {
			s.from = map[string]map[string]given{}
		}
		if s.from[f.key] == nil {
			s.from[f.key] = map[string]given{}
		}
		s.from[f.key][name] = given{name, text, s.origin(name)}
	case l.unavailable(s, name, text):
	case name == "role" && l.isOwnRole(text):
	case isOtherPlane(name): // one file and one environment may serve both binaries
		l.others.note(name, text)
	case s.kong || kongOnly(name):
		l.warn("%s has no meaning here and is ignored (%s)", s.show(name), s.origin(name))
	default:
		remedy := "take it out, or see --help for the settings there are"
		if near := spelling.Nearest(name, l.allNames()); near != "" {
			remedy = "did you mean " + s.show(near) + "?"
		}
		l.fault(name, s.origin(name), s.show(name)+" is no setting", remedy)
	}
}

// isOwnRole reports whether a text is Kong's name for what this binary is anyway.
func (l *loader) isOwnRole(text string) bool {
	beside := map[string]string{"control_plane": "cluster_listen", "data_plane": "cluster_control_plane"}[text]
	return beside != "" && l.byName[beside] != nil
}

// settle lets the layer override the weaker ones. Two names for one field in the same layer contradict.
func (l *loader) settle(s *source) {
	for _, f := range l.fields {
		names := s.from[f.key]
		if len(names) > 1 {
			var shown []string
			for name := range names {
				shown = append(shown, s.show(name))
			}
			slices.Sort(shown)
			l.fault(f.key, names[firstKey(names)].origin, strings.Join(shown, " and ")+" mean the same setting", "keep one of them")
			continue
		}
		for _, one := range names {
			l.given[f.key] = one
		}
	}
}

func firstKey(names map[string]given) (first string) {
	for name := range names {
		if first == "" || name < first {
			first = name
		}
	}
	return first
}

func (l *loader) readFile(sources Sources) {
	path := sources.File
	for _, candidate := range sources.Search {
		if _, err := os.Stat(candidate); path == "" && err == nil {
			path = candidate
		}
	}
	if path == "" {
		return
	}
	data, err := os.ReadFile(path)
	if err != nil {
		remedy := "check the path and its permissions"
		if errors.Is(err, fs.ErrNotExist) {
			remedy = "there is no such file"
		}
		l.fault("", path, "the settings file cannot be read", remedy)
		return
	}
	l.file = path
	lines, problems := conffile.Parse(data)
	at := func(line int) string { return fmt.Sprintf("%s:%d", path, line) }
	for _, problem := range problems {
		l.fault("", at(problem.Line), problem.Text, problem.Remedy)
	}
	numbers := map[string]int{}
	s := &source{
		kong: isKongFile(path), show: func(name string) string { return name },
		origin: func(name string) string { return at(numbers[name]) },
	}
	for _, line := range lines {
		numbers[line.Key] = line.Number
		l.take(s, line.Key, line.Value)
	}
	l.settle(s)
}

// readEnvironment reads KONG_* first, so that KEEPGATE_* is the stronger.
func (l *loader) readEnvironment(environ []string) {
	for _, prefix := range []string{kongPrefix, ownPrefix} {
		variable := func(name string) string { return prefix + strings.ToUpper(name) }
		s := &source{kong: prefix == kongPrefix, show: variable, origin: variable}
		for _, entry := range slices.Sorted(slices.Values(environ)) {
			name, value, _ := strings.Cut(entry, "=")
			name, found := strings.CutPrefix(name, prefix)
			if !found {
				continue
			}
			name = strings.ToLower(name)
			if _, known := l.byName[name]; !known && (isServiceLink(name, value) || name == "admin_token") {
				continue // KEEPGATE_ADMIN_TOKEN is for the commands that call the Admin API
			}
			l.take(s, name, value)
		}
		l.settle(s)
	}
}

// isServiceLink recognises the variables that Kubernetes sets in every container for each service of the
// namespace. A service named keepgate would otherwise stop us with KEEPGATE_SERVICE_HOST.
func isServiceLink(name, value string) bool {
	link := regexp.MustCompile(`(^|_)(service_host|service_port(_[a-z0-9_]+)?|port_\d+_(tcp|udp|sctp)(_(proto|port|addr))?)$`)
	port := regexp.MustCompile(`(^|_)port$`)
	return link.MatchString(name) || port.MatchString(name) && strings.Contains(value, "://")
}

func (l *loader) readFlags(flags map[string]string) {
	flag := func(name string) string { return "--" + flagName(name) }
	s := &source{show: flag, origin: flag}
	for name, text := range flags {
		l.take(s, name, text)
	}
	l.settle(s)
}

func flagName(key string) string { return strings.ReplaceAll(key, "_", "-") }

func (l *loader) allNames() (names []string) {
	for _, f := range l.fields {
		names = append(names, f.names()...)
	}
	return names
}

// prefixed makes a relative path absolute below the prefix.
func (l *loader) prefixed(path string) string {
	prefix, known := l.byName["prefix"]
	if !known || path == "" || path == "off" || path == "on" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(prefix.value.String(), path)
}
