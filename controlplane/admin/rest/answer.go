package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

// Answer is what a handler says. A nil Body is an empty one.
type Answer struct {
	Status int
	Body   []byte // JSON, unless Header says otherwise
	Header http.Header
}

// JSON answers with a value as compact JSON.
func JSON(status int, value any) Answer {
	body, err := Marshal(value)
	if err != nil { // only of a type that cannot be JSON: a bug
		return Answer{Status: http.StatusInternalServerError, Body: []byte(`{"message":"An unexpected error occurred"}`)}
	}
	return Answer{Status: status, Body: body}
}

// Marshal writes compact JSON that leaves <, > and & alone, as Kong does.
func Marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, fmt.Errorf("writing an answer: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Message answers with {"message": text}.
func Message(status int, text string) Answer { return JSON(status, map[string]any{"message": text}) }

// NoContent answers 204.
func NoContent() Answer { return Answer{Status: http.StatusNoContent} }

// Refusal is an error that says its own answer.
type Refusal struct {
	Status int
	Body   map[string]any // nil: an empty body
	Header http.Header    // of the answer; nil: nothing more
}

func (r *Refusal) Error() string {
	message, _ := r.Body["message"].(string)
	return fmt.Sprintf("%d %s", r.Status, message)
}

// Refuse makes a Refusal with a message.
func Refuse(status int, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Body: map[string]any{"message": fmt.Sprintf(format, args...)}}
}

// NotFound is the answer for what is not there.
func NotFound() *Refusal { return Refuse(http.StatusNotFound, "Not found") }

// Coded makes a Refusal with Kong's code and name.
func Coded(code int, name, format string, args ...any) *Refusal {
	r := Refuse(http.StatusBadRequest, format, args...)
	r.Body["code"], r.Body["name"] = code, name
	return r
}
