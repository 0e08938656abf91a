package fault

import "strings"

// Text is an error for people at a command line: what Error says, without the operations, and without the kinds,
// which add nothing to what is told already. Subjects stay.
func Text(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	for _, e := range outermost(err) {
		text = strings.ReplaceAll(text, e.Error(), e.plain())
	}
	return text
}

func (e *Error) plain() string {
	text := Text(e.Err)
	if e.Subject == "" {
		return text
	}
	return e.Subject + ": " + text
}

// outermost lists the Errors of a tree that are below no other.
func outermost(err error) []*Error {
	if e, ok := err.(*Error); ok {
		return []*Error{e}
	}
	var below []error
	switch wrapped := err.(type) {
	case interface{ Unwrap() error }:
		below = []error{wrapped.Unwrap()}
	case interface{ Unwrap() []error }:
		below = wrapped.Unwrap()
	}
	var found []*Error
	for _, one := range below {
		if one != nil {
			found = append(found, outermost(one)...)
		}
	}
	return found
}
