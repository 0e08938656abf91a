package finding

import (
	"encoding/json"
	"fmt"
	"io"
)

// WriteJSON writes a report for programs.
func WriteJSON(out io.Writer, findings []Finding) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(map[string]any{
		"wrong": Count(findings, Wrong), "warnings": Count(findings, Warning), "findings": findings,
	})
}

// WriteText writes a report for people, area by area.
func WriteText(out io.Writer, findings []Finding) error {
	width := 0
	for _, one := range findings {
		width = max(width, len(one.Step))
	}
	area := ""
	for _, one := range findings {
		if one.Area != area {
			area = one.Area
			if _, err := fmt.Fprintln(out, area); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(out, "  %-7s  %-*s  %s\n", one.Verdict, width, one.Step, one.Fact); err != nil {
			return err
		}
		if one.Mend != "" {
			if _, err := fmt.Fprintf(out, "  %-7s  %-*s  → %s\n", "", width, "", one.Mend); err != nil {
				return err
			}
		}
	}
	return nil
}

// Failed says how many things are wrong, as the error that an examination ends with.
type Failed int

func (f Failed) Error() string {
	if f == 1 {
		return "one thing is wrong"
	}
	return fmt.Sprintf("%d things are wrong", int(f))
}
