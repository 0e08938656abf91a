// Package fault is the one error that crosses package borders: what failed, on which thing, and what a
// caller can do about it.
//
// Inside a package errors are wrapped with fmt.Errorf and %w; at its border they become an [Error]. Only
// the edges (Admin API, gRPC servers, command lines) turn a [Kind] into a status or an exit code. A
// Subject names a thing, as "routes/9f3c", and never holds a value, so no secret travels in an error.
package fault

import (
	"errors"
	"fmt"
)

// Kind is what a caller can do about an error.
type Kind uint8

const (
	Internal    Kind = iota // a bug or something unforeseen
	Invalid                 // can never succeed: fix the request
	NotFound                // no such thing
	Conflict                // someone was faster, or the name is taken: read again
	Denied                  // this caller may not
	Unavailable             // try again later, with backoff
	Corrupt                 // stored bytes do not verify: never retry, never skip
)

var kindNames = [...]string{
	Internal: "internal", Invalid: "invalid", NotFound: "not found", Conflict: "conflict",
	Denied: "denied", Unavailable: "unavailable", Corrupt: "corrupt",
}

// String returns the lower-case name of the kind.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Error says what failed, on which thing, and of what kind it is.
type Error struct {
	Kind    Kind
	Op      string // package and function: "catalog.Put"
	Subject string // a name: "routes/9f3c", "key/8zgITLQh"; never a value, so never a secret
	Err     error
}

// New makes an Error. A nil err is replaced by the kind's name, so that the text is never "<nil>".
func New(kind Kind, op, subject string, err error) *Error {
	if err == nil {
		err = errors.New(kind.String())
	}
	return &Error{Kind: kind, Op: op, Subject: subject, Err: err}
}

// Newf makes an Error from a format; %w wraps as in fmt.Errorf.
func Newf(kind Kind, op, subject, format string, args ...any) *Error {
	return &Error{Kind: kind, Op: op, Subject: subject, Err: fmt.Errorf(format, args...)}
}

func (e *Error) Error() string {
	if e.Subject == "" {
		return fmt.Sprintf("%s: %v (%v)", e.Op, e.Err, e.Kind)
	}
	return fmt.Sprintf("%s %s: %v (%v)", e.Op, e.Subject, e.Err, e.Kind)
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the outermost Error in err's chain, and Internal for every other error.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// SubjectOf returns the subject of the outermost Error in err's chain, or "".
func SubjectOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Subject
	}
	return ""
}
