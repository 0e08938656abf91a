// Package conffile reads the text form of a settings file: one "key = value" a line.
//
// It knows nothing of which keys exist or what values mean; package settings does. The form is that of a
// kong.conf, read strictly:
//
//	# a comment
//	key = value            # a comment after white space
//	key = a value \# 1     # a literal number sign
//	key = 'quo#ted'        # literal to the closing quote, single or double
//	key =                  # the same as no line at all
//
// What Kong would cut short or overrule silently is a [Problem] here: a number sign inside a word (a
// password would lose its end), a key given twice, a line without "=".
package conffile

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxBytes is the largest file read: a settings file beyond it is some other file.
const MaxBytes = 1 << 20

// Line is one setting as the file gives it.
type Line struct {
	Number int // from 1
	Key    string
	Value  string // without quotes, escapes and comment; may be empty
}

// Problem is one thing wrong with the file. It never repeats a value, which may be a secret.
type Problem struct {
	Line   int
	Text   string
	Remedy string
}

// Parse returns the settings in the order of the file and everything that is wrong with it, not only the
// first thing.
func Parse(data []byte) ([]Line, []Problem) {
	if len(data) > MaxBytes {
		return nil, []Problem{{1, fmt.Sprintf("the file is larger than %d bytes", MaxBytes), "is this the right file?"}}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // the byte order mark some editors write
	var lines []Line
	var problems []Problem
	first := map[string]int{}
	number := 0
	for text := range bytes.SplitSeq(data, []byte("\n")) {
		number++
		line, problem := parseLine(strings.TrimSuffix(string(text), "\r"))
		switch {
		case problem != nil:
			problem.Line = number
			problems = append(problems, *problem)
		case line.Key == "":
		case first[line.Key] != 0:
			problems = append(problems, Problem{
				number, fmt.Sprintf("%s is given twice, first in line %d", line.Key, first[line.Key]), "keep one of the two",
			})
		default:
			line.Number, first[line.Key] = number, number
			lines = append(lines, line)
		}
	}
	return lines, problems
}

// parseLine returns a Line without a key for blank lines and comments.
func parseLine(text string) (Line, *Problem) {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, isControl) {
		return Line{}, &Problem{Text: "the line holds control characters or is not UTF-8", Remedy: "save the file as plain UTF-8 text"}
	}
	text = strings.Trim(text, " \t")
	if text == "" || text[0] == '#' {
		return Line{}, nil
	}
	key, rest, found := strings.Cut(text, "=")
	key = strings.TrimRight(key, " \t")
	switch {
	case !found:
		return Line{}, &Problem{Text: `the line has no "="`, Remedy: `write it as "key = value", or begin it with # as a comment`}
	case !isKey(key):
		return Line{}, &Problem{Text: "the part before the = is no key", Remedy: "keys are lower-case letters, digits and underscores"}
	}
	value, problem := parseValue(strings.Trim(rest, " \t"))
	return Line{Key: key, Value: value}, problem
}

func parseValue(text string) (string, *Problem) {
	if text == "" {
		return "", nil
	}
	if quote := text[0]; quote == '\'' || quote == '"' {
		value, after, closed := strings.Cut(text[1:], string(quote))
		if !closed {
			return "", &Problem{Text: "the value's opening quote is never closed", Remedy: "close it, or leave both quotes out"}
		}
		if after = strings.Trim(after, " \t"); after != "" && after[0] != '#' {
			return "", &Problem{Text: "something follows the value's closing quote", Remedy: "put the whole value inside the quotes"}
		}
		return value, nil
	}
	var value strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text) && text[i+1] == '#':
			value.WriteByte('#')
			i++
		case text[i] != '#':
			value.WriteByte(text[i])
		case i == 0 || text[i-1] == ' ' || text[i-1] == '\t':
			return strings.TrimRight(value.String(), " \t"), nil
		default:
			return "", &Problem{Text: "a # stands inside the value", Remedy: `write \# for the character itself, or put a space before a comment`}
		}
	}
	return value.String(), nil
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

func isKey(key string) bool {
	return key != "" && !strings.ContainsFunc(key, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
	})
}
