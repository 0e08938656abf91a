package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// figure is one thing that was measured. The aim is an upper bound; 0 means there is none.
type figure struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Least   float64 `json:"least,omitempty"` // of several
	Most    float64 `json:"most,omitempty"`
	Unit    string  `json:"unit"`
	Aim     float64 `json:"aim,omitempty"`
	Reached *bool   `json:"reached,omitempty"`
	Note    string  `json:"note,omitempty"`
}

// report is all figures of a run.
type report struct {
	Begun   time.Time `json:"begun"`
	Machine host      `json:"machine"`
	Figures []figure  `json:"figures"`
}

// host is where it ran.
type host struct {
	CPU   string `json:"cpu"`
	Cores int    `json:"cores"`
	Load  string `json:"load"`
	Go    string `json:"go"`
}

func machine() host {
	h := host{Cores: runtime.NumCPU(), Go: runtime.Version(), CPU: runtime.GOARCH}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
				h.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		h.Load = strings.Join(strings.Fields(string(text))[:3], " ")
	}
	return h
}

func (r *report) add(f figure) {
	if f.Aim != 0 {
		reached := f.Value <= f.Aim
		f.Reached = &reached
	}
	r.Figures = append(r.Figures, f)
}

// spread adds the median of several values, with the least and the most.
func (r *report) spread(f figure, values []float64) {
	sorted := slices.Sorted(slices.Values(values))
	f.Value, f.Least, f.Most = sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1]
	if len(sorted)%2 == 0 {
		f.Value = (f.Value + sorted[len(sorted)/2-1]) / 2
	}
	r.add(f)
}

// quantile is the smallest of the values that at least the share q of them does not exceed.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := int(float64(len(sorted))*q+0.999999) - 1
	return sorted[min(max(at, 0), len(sorted)-1)]
}

func (r *report) print(to io.Writer) {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nfigure\tmeasured\taim\tverdict\tnote")
	for _, f := range r.Figures {
		aim, verdict := "", ""
		if f.Aim != 0 {
			aim, verdict = "≤ "+number(f.Aim)+" "+f.Unit, "missed"
			if *f.Reached {
				verdict = "reached"
			}
		}
		value := number(f.Value) + " " + f.Unit
		if f.Most != 0 {
			value += fmt.Sprintf(" [%s..%s]", number(f.Least), number(f.Most))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", f.Name, value, aim, verdict, f.Note)
	}
	_ = table.Flush() // a closed pipe ends the process anyway
	fmt.Fprintf(to, "\nin %v; load now %s\n", time.Since(r.Begun).Round(time.Second), machine().Load)
}

func number(x float64) string {
	switch {
	case x == float64(int64(x)) || x >= 1000:
		return fmt.Sprintf("%.0f", x)
	case x >= 100:
		return fmt.Sprintf("%.1f", x)
	case x < 0.1:
		return fmt.Sprintf("%.4f", x)
	default:
		return fmt.Sprintf("%.2f", x)
	}
}

func (r *report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
