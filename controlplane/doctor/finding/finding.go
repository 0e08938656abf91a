// Package finding is how an examination is told: step by step, with what was found at each and, where something is
// wrong, the one thing that mends it.
//
// It examines nothing itself. Whoever does ([Run]'s callers) writes no secret into a fact or a mend.
package finding

import (
	"context"
	"fmt"
	"strings"
	"unicode"
)

// Verdict is how a step ended.
type Verdict string

// Skipped are steps that could not tell anything because of one before them.
const (
	OK      Verdict = "ok"
	Warning Verdict = "warning"
	Wrong   Verdict = "wrong"
	Skipped Verdict = "skipped"
)

// Finding is one line of a report.
type Finding struct {
	Area    string  `json:"area"` // "PostgreSQL db.example:5432"
	Step    string  `json:"step"` // "names"
	Verdict Verdict `json:"verdict"`
	Fact    string  `json:"fact"`
	Mend    string  `json:"mend,omitempty"` // never empty for what is wrong
}

// Result is what one step found.
type Result struct {
	Verdict    Verdict
	Fact, Mend string
}

// Fine is a result without fault.
func Fine(format string, args ...any) Result { return Result{OK, fmt.Sprintf(format, args...), ""} }

// Beware is a result that works today, and what should be mended.
func Beware(fact, mend string) Result { return Result{Warning, fact, mend} }

// Bad is a fault, and the one thing that mends it.
func Bad(fact, mend string) Result { return Result{Wrong, fact, mend} }

const because = "because of: "

// Because is the result of a step that tells nothing, for a cause outside of its area.
func Because(cause string) Result { return Result{Skipped, because + cause, ""} }

// Step is one thing to look at.
type Step struct {
	Name  string
	Needs []string // steps of the same area without which this one tells nothing
	Do    func(ctx context.Context) Result
}

// Run looks at one thing after the other. A step is skipped when one that it needs is wrong or was itself skipped; it
// then names the one that is wrong.
func Run(ctx context.Context, area string, steps []Step) []Finding {
	var findings []Finding
	broken := map[string]string{} // by step: the step that is wrong
	for _, step := range steps {
		result, cause := Result{}, ""
		for _, need := range step.Needs {
			if broken[need] != "" {
				cause = broken[need]
				break
			}
		}
		switch {
		case cause != "":
			result = Because(cause)
			broken[step.Name] = cause
		case ctx.Err() != nil:
			result = Result{Skipped, "the examination was ended", ""}
			broken[step.Name] = step.Name
		default:
			switch result = step.Do(ctx); result.Verdict {
			case Wrong:
				broken[step.Name] = step.Name
			case Skipped:
				broken[step.Name] = strings.TrimPrefix(result.Fact, because)
			}
		}
		findings = append(findings, Finding{area, step.Name, result.Verdict, Line(result.Fact), Line(result.Mend)})
	}
	return findings
}

// Line makes one line of a text, and nothing a terminal would take for a command: servers write parts of it.
func Line(text string) string {
	const most = 600
	line := strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)), " ")
	if runes := []rune(line); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return line
}

// Count says how many findings have a verdict.
func Count(findings []Finding, verdict Verdict) (n int) {
	for _, f := range findings {
		if f.Verdict == verdict {
			n++
		}
	}
	return n
}
