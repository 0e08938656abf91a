package declarative

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// jsonError is a text that is no JSON, and where.
type jsonError struct {
	line int
	text string
}

// jsonReader reads JSON with line numbers.
type jsonReader struct {
	*reader
	decoder *json.Decoder
	text    []byte
	offset  int64 // up to here lines are counted
	line    int
}

func (r *reader) readJSON(text []byte) (*value, *jsonError) {
	j := &jsonReader{reader: r, decoder: json.NewDecoder(bytes.NewReader(text)), text: text, line: 1}
	j.decoder.UseNumber()
	before := len(r.problems.List)
	v, err := j.value(nil, 0)
	if err == nil {
		if _, trailing := j.decoder.Token(); !errors.Is(trailing, io.EOF) {
			err = errors.New("expected one document, found something after it")
		}
	}
	if err != nil {
		r.problems.List = r.problems.List[:before]
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, &jsonError{j.here(), err.Error()}
	}
	return v, nil
}

// here is the line that the decoder has come to.
func (j *jsonReader) here() int {
	offset := min(j.decoder.InputOffset(), int64(len(j.text)))
	j.line += bytes.Count(j.text[j.offset:offset], []byte("\n"))
	j.offset = offset
	return j.line
}

func (j *jsonReader) value(path []any, depth int) (*value, error) {
	token, err := j.decoder.Token()
	if err != nil {
		return nil, err
	}
	v := &value{line: j.here()}
	if depth > maxDepth {
		return nil, errors.New("nested too deep")
	}
	switch token {
	case json.Delim('['):
		v.kind = listKind
		for j.decoder.More() {
			item, err := j.value(with(path, len(v.items)), depth+1)
			if err != nil {
				return nil, err
			}
			v.items = append(v.items, item)
		}
		_, err = j.decoder.Token()
		return v, err
	case json.Delim('{'):
		v.kind = mapKind
		return v, j.members(v, path, depth)
	}
	v.scalar = token
	return v, nil
}

func (j *jsonReader) members(v *value, path []any, depth int) error {
	seen := map[string]bool{}
	for j.decoder.More() {
		token, err := j.decoder.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string)
		line := j.here()
		child, err := j.value(with(path, key), depth+1)
		if err != nil {
			return err
		}
		if seen[key] {
			j.problems.add(line, with(path, key), "the key is there twice")
			continue
		}
		seen[key] = true
		v.members = append(v.members, member{key, line, child})
	}
	_, err := j.decoder.Token()
	return err
}
