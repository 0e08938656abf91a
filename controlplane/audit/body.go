package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what an entry may hold, in bytes.
const (
	maxAction  = 64
	maxClient  = 128
	maxSubject = 1024
	maxName    = 64
	maxUser    = 512
	maxValue   = 8 << 10 // the ids of some hundred keys
	maxDetails = 32
	maxBody    = 16 << 10
)

// Actor is who decides.
type Actor struct {
	Client string `json:"client,omitempty"` // network address; "" for the node itself
	Via    string `json:"via"`              // loopback, token, forwarded, rbac, unknown, node or cli
	Name   string `json:"name,omitempty"`   // of the user, where users have names
}

type actorKey struct{}

// WithActor says on whose behalf is done what runs under the context.
func WithActor(ctx context.Context, actor Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// ActorOf returns who was named by WithActor; without, it is the node itself.
func ActorOf(ctx context.Context) Actor {
	if actor, ok := ctx.Value(actorKey{}).(Actor); ok {
		return actor
	}
	return Actor{Via: "node"}
}

// Body is what an entry says.
type Body struct {
	Actor   Actor  `json:"actor"`
	Action  string `json:"action"` // dotted words: key.activate
	Subject string `json:"subject"`
	Detail  Detail `json:"detail,omitempty"`
	Outcome string `json:"outcome,omitempty"`
}

// Detail is names and values, in the order they were given; in JSON one object.
type Detail []Pair

// Pair is one name and its value.
type Pair struct{ Name, Value string }

// Value returns the value of a name, "" when it is not there.
func (d Detail) Value(name string) string {
	for _, pair := range d {
		if pair.Name == name {
			return pair.Value
		}
	}
	return ""
}

// pairs makes a Detail of names and values in turn; a name without a value shows in its check.
func pairs(detail []string) (d Detail) {
	for i := 0; i < len(detail); i += 2 {
		pair := Pair{Name: detail[i]}
		if i+1 == len(detail) {
			pair.Name = ""
		} else {
			pair.Value = detail[i+1]
		}
		d = append(d, pair)
	}
	return d
}

// MarshalJSON writes an object.
func (d Detail) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, pair := range d {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := marshal(pair.Name)
		if err != nil {
			return nil, err
		}
		value, err := marshal(pair.Value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}

// UnmarshalJSON reads an object of texts.
func (d *Detail) UnmarshalJSON(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return errors.New("the detail of an entry is no object")
	}
	*d = nil
	for decoder.More() {
		var pair Pair
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		pair.Name, _ = token.(string) // a name always is
		if err := decoder.Decode(&pair.Value); err != nil {
			return err
		}
		*d = append(*d, pair)
	}
	_, err := decoder.Token()
	return err
}

// ParseBody reads what an entry says.
func ParseBody(text []byte) (b Body, err error) {
	if err := json.Unmarshal(text, &b); err != nil {
		return Body{}, fmt.Errorf("an entry's body is not of this form: %w", err)
	}
	return b, nil
}

// encode checks and writes the body.
func (b Body) encode() ([]byte, error) {
	if err := b.validate(); err != nil {
		return nil, err
	}
	text, err := marshal(b)
	if err == nil && len(text) > maxBody {
		err = fmt.Errorf("an entry has %d bytes, more than %d", len(text), maxBody)
	}
	return text, err
}

func (b Body) validate() error {
	if b.Action == "" || strings.Trim(b.Action, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return fmt.Errorf("%q is no name of an action", b.Action)
	}
	if len(b.Detail) > maxDetails {
		return fmt.Errorf("an entry has %d details, more than %d", len(b.Detail), maxDetails)
	}
	texts := []struct {
		what, text string
		most       int
	}{
		{"action", b.Action, maxAction},
		{"client", b.Actor.Client, maxClient},
		{"via", b.Actor.Via, maxName},
		{"name", b.Actor.Name, maxUser},
		{"subject", b.Subject, maxSubject},
		{"outcome", b.Outcome, maxValue},
	}
	for _, pair := range b.Detail {
		if pair.Name == "" {
			return errors.New("a detail has no name, or no value")
		}
		texts = append(texts, struct {
			what, text string
			most       int
		}{"detail's name", pair.Name, maxName}, struct {
			what, text string
			most       int
		}{"detail " + pair.Name, pair.Value, maxValue})
	}
	for _, t := range texts {
		if err := checkText(t.what, t.text, t.most); err != nil {
			return err
		}
	}
	return nil
}

// checkText says what is wrong with a text, and never the text: it may be what should not be here.
func checkText(what, text string, most int) error {
	switch {
	case len(text) > most:
		return fmt.Errorf("the %s has %d bytes, more than %d", what, len(text), most)
	case !utf8.ValidString(text):
		return fmt.Errorf("the %s is no UTF-8", what)
	case strings.ContainsFunc(text, unicode.IsControl):
		return fmt.Errorf("the %s has control characters", what)
	}
	return nil
}

// marshal writes JSON that leaves <, > and & alone.
func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, fmt.Errorf("writing an entry: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
