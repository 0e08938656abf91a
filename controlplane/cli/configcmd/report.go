package configcmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
	"github.com/keepgate/keepgate/shared/declarative"
	"github.com/keepgate/keepgate/shared/durable"
)

// report is what a push did, or would do.
type report struct {
	DryRun   bool              `json:"dry_run"`
	Revision uint64            `json:"revision"`
	Summary  map[string]counts `json:"summary"`
	Changes  []change          `json:"changes"`
}

type counts struct{ Created, Updated, Deleted, Unchanged int }

type change struct {
	Action, Entity, ID, Name string
	Fields                   []string
}

// maxLines bounds how many changes are printed one by one; the summary counts all.
const maxLines = 200

func (r report) print(w io.Writer) error {
	var b strings.Builder
	for i, c := range r.Changes {
		if i == maxLines {
			fmt.Fprintf(&b, "… and %d more\n", len(r.Changes)-maxLines)
			break
		}
		name := c.Name
		if name == "" {
			name = c.ID
		}
		fmt.Fprintf(&b, "%-6s  %s/%s", c.Action, c.Entity, oneLine(name))
		if len(c.Fields) > 0 {
			fmt.Fprintf(&b, "  (%s)", strings.Join(c.Fields, ", "))
		}
		b.WriteByte('\n')
	}
	var all counts
	for _, table := range slices.Sorted(maps.Keys(r.Summary)) {
		c := r.Summary[table]
		all = counts{all.Created + c.Created, all.Updated + c.Updated, all.Deleted + c.Deleted, all.Unchanged + c.Unchanged}
	}
	fmt.Fprintf(&b, "%d created, %d updated, %d deleted, %d unchanged: ", all.Created, all.Updated, all.Deleted, all.Unchanged)
	switch {
	case r.DryRun:
		b.WriteString("a dry run, nothing was written\n")
	case r.Revision == 0:
		b.WriteString("nothing to do\n")
	default:
		fmt.Fprintf(&b, "version %d\n", r.Revision)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// oneLine quotes a name that would be more than one line, or more than text: names of consumers and keys of maps may hold anything.
func oneLine(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}

// save writes a dump so that only its owner may read it.
func save(path, text string) error {
	return durable.Replace(path, 0o600, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

// explain writes a refusal with the lines of the files it is about.
func (in *input) explain(refusal *adminclient.Refusal) error {
	var said struct {
		Problems []struct {
			Line           int
			Field, Message string
		}
	}
	if json.Unmarshal(refusal.Body, &said) != nil || len(said.Problems) == 0 {
		return refusal
	}
	lines := make([]string, len(said.Problems))
	for i, p := range said.Problems {
		lines[i] = in.line(p.Line, p.Field, p.Message)
	}
	return refused(lines)
}

// name writes what the files alone show to be wrong.
func (in *input) name(problems *declarative.Problems) error {
	lines := make([]string, len(problems.List))
	for i, p := range problems.List {
		lines[i] = in.line(p.Line, p.Field(), p.Message)
	}
	return refused(lines)
}

func refused(lines []string) error {
	return errors.New("the configuration is refused and nothing was changed:\n" + strings.Join(lines, "\n"))
}

// line is "file:line: field: message".
func (in *input) line(line int, field, message string) string {
	file, line := in.locate(line, field)
	text := file
	if line > 0 {
		text += fmt.Sprintf(":%d", line)
	}
	if field != "" {
		text += ": " + field
	}
	return text + ": " + message
}
