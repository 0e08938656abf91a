package schema

import (
	"bytes"
	"encoding/json"
	"io"
)

// Document is a JSON tree: nil, bool, string, float64, int64, json.Number, []any, map[string]any.
type Document = map[string]any

// BodyError is a body that no entity can be read from; its text is Kong's message.
type BodyError string

func (e BodyError) Error() string { return string(e) }

const (
	// ErrJSON is text that is no JSON object.
	ErrJSON BodyError = "Cannot parse JSON body"
	// ErrForm is a form or multipart body that does not follow its format.
	ErrForm BodyError = "Cannot parse form body"
	// ErrTooManyArguments is a form with more than MaxArguments values.
	ErrTooManyArguments BodyError = "Too many arguments"
)

// MaxArguments bounds the values of one form.
const MaxArguments = 1000

// ParseJSON reads a JSON object. Numbers stay exact; of a repeated key the last one counts, as in Kong.
func ParseJSON(body []byte) (Document, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var doc Document
	if err := decoder.Decode(&doc); err != nil || doc == nil {
		return nil, ErrJSON
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, ErrJSON
	}
	return doc, nil
}
