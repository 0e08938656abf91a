package schema

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// errBody is a storage body that is no JSON object.
var errBody = errors.New("not a JSON object")

// maxBodyDepth bounds how deep a storage body nests; ours nest a tenth of it.
const maxBodyDepth = 100

// readBody reads a storage body into a tree. It accepts exactly what encoding/json does, but for depth and
// invalid UTF-8, and takes a third of the time: whole databases pass through it at every start.
func readBody(body []byte) (map[string]any, error) {
	r := bodyReader{text: string(body)}
	r.space()
	v, err := r.value(0)
	tree, ok := v.(map[string]any)
	if r.space(); err != nil || !ok || r.at != len(r.text) {
		return nil, errBody
	}
	return tree, nil
}

// bodyReader reads text from at on. Strings without escapes share the memory of text.
type bodyReader struct {
	text string
	at   int
}

func (r *bodyReader) space() {
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}

// next takes c and the space after it if it comes next.
func (r *bodyReader) next(c byte) bool {
	if r.at >= len(r.text) || r.text[r.at] != c {
		return false
	}
	r.at++
	r.space()
	return true
}

func (r *bodyReader) value(depth int) (any, error) {
	if r.at >= len(r.text) || depth > maxBodyDepth {
		return nil, errBody
	}
	switch r.text[r.at] {
	case '{':
		return r.object(depth)
	case '[':
		return r.list(depth)
	case '"':
		return r.string()
	case 't':
		return true, r.word("true")
	case 'f':
		return false, r.word("false")
	case 'n':
		return nil, r.word("null")
	}
	return r.number()
}

func (r *bodyReader) word(word string) error {
	if !strings.HasPrefix(r.text[r.at:], word) {
		return errBody
	}
	r.at += len(word)
	return nil
}

func (r *bodyReader) object(depth int) (any, error) {
	tree := map[string]any{}
	r.next('{')
	if r.next('}') {
		return tree, nil
	}
	for {
		if r.at >= len(r.text) || r.text[r.at] != '"' {
			return nil, errBody
		}
		key, err := r.string()
		if err != nil {
			return nil, err
		}
		if r.space(); !r.next(':') {
			return nil, errBody
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		tree[key] = v
		if r.space(); r.next(',') {
			continue
		}
		if !r.next('}') {
			return nil, errBody
		}
		return tree, nil
	}
}

func (r *bodyReader) list(depth int) (any, error) {
	items := []any{}
	r.next('[')
	if r.next(']') {
		return items, nil
	}
	for {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, v)
		if r.space(); r.next(',') {
			continue
		}
		if !r.next(']') {
			return nil, errBody
		}
		return items, nil
	}
}

// string reads a string; one with escapes is left to encoding/json.
func (r *bodyReader) string() (string, error) {
	start, plain := r.at+1, true
	for i := start; i < len(r.text); i++ {
		switch c := r.text[i]; {
		case c == '"':
			r.at = i + 1
			s := r.text[start:i]
			if !plain {
				if err := json.Unmarshal([]byte(r.text[start-1:r.at]), &s); err != nil {
					return "", errBody
				}
			}
			if !utf8.ValidString(r.text[start:i]) {
				return "", errBody
			}
			return s, nil
		case c == '\\':
			plain = false
			i++
		case c < ' ':
			return "", errBody
		}
	}
	return "", errBody
}

// number reads a number: an int64 where it is one, else as it is written.
func (r *bodyReader) number() (any, error) {
	start := r.at
	for r.at < len(r.text) && strings.IndexByte("+-.0123456789eE", r.text[r.at]) >= 0 {
		r.at++
	}
	text := r.text[start:r.at]
	digits := strings.TrimPrefix(text, "-")
	if len(digits) == 0 || len(digits) > 1 && digits[0] == '0' && digits[1] != '.' && digits[1] != 'e' && digits[1] != 'E' {
		return nil, errBody
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && digits[0] >= '0' && digits[0] <= '9' && text != "-0" {
		return n, nil
	}
	if !json.Valid([]byte(text)) {
		return nil, errBody
	}
	return json.Number(text), nil
}
