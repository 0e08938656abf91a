package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// printer writes the story: a title for each step, commands behind a dollar sign, their output indented, and what
// the step proves.
type printer struct {
	to    io.Writer
	color bool
	steps int
}

func newPrinter(to *os.File) *printer {
	info, err := to.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &printer{to: to, color: terminal && os.Getenv("NO_COLOR") == ""}
}

// The colours of ECMA-48 §8.3.117 that any terminal has.
const (
	bold  = "1"
	faint = "2"
	green = "32"
	cyan  = "36"
)

func (p *printer) paint(code, text string) string {
	if !p.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p *printer) line(text string) { fmt.Fprintln(p.to, text) }

func (p *printer) title(text string) {
	p.line("")
	p.line(p.paint(bold, text))
}

func (p *printer) note(format string, args ...any) {
	p.line(p.paint(faint, fmt.Sprintf(format, args...)))
}

func (p *printer) step(title string) {
	p.steps++
	p.line("")
	p.line(p.paint(bold, fmt.Sprintf("%2d  %s", p.steps, title)))
}

func (p *printer) command(text string) { p.line("    " + p.paint(cyan, "$ "+text)) }

// most is how many lines of an output are shown.
const most = 16

func (p *printer) output(text string) {
	text = strings.TrimRight(text, "\n ")
	if text == "" {
		return
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if i == most {
			p.line("      " + p.paint(faint, fmt.Sprintf("… %d more lines", len(lines)-most)))
			return
		}
		p.line(strings.TrimRight("      "+shorten(line), " "))
	}
}

// shorten keeps a line within a wide terminal; a sealed value shows both of its ends.
func shorten(line string) string {
	const width = 116
	runes := []rune(line)
	if len(runes) <= width {
		return line
	}
	return string(runes[:width-24]) + " … " + string(runes[len(runes)-20:])
}

func (p *printer) proves(text string) {
	p.line("    " + p.paint(green, "✓ ") + text)
}
