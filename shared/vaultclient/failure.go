package vaultclient

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// Step is how far a request came.
type Step string

// The steps of a request, in their order.
const (
	StepAddress Step = "address" // the options are wrong
	StepDNS     Step = "DNS"     // the host's name has no address
	StepTCP     Step = "TCP"     // nothing answers there
	StepTLS     Step = "TLS"     // whoever answers does not prove to be the server
	StepServer  Step = "server"  // the server cannot answer: sealed, a standby, overloaded
	StepLogin   Step = "login"   // it does not let this client in
	StepRead    Step = "read"    // what was asked for is not to be had
)

// Failure is the inner error of all faults of this package.
type Failure struct {
	Step Step
	Text string
	Err  error // nil, or the cause, whose text is part of Text where it may be shown
}

func (f *Failure) Error() string { return f.Text }

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Err }

// StepOf is the step that failed, "" when err is none of this package's.
func StepOf(err error) Step {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f.Step
	}
	return ""
}

// transportFailure says why there was no answer.
func transportFailure(ctx context.Context, err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return &Failure{StepServer, "the request was given up", ctx.Err()}
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return &Failure{StepServer, "the server accepted the connection and gave no answer in time", err}
	}
	return &Failure{StepServer, "the connection broke before the answer was complete", err}
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

const maxShown = 200

// answered says what an answer means that is no success. login: the request brought no token.
func answered(op, subject string, status int, body []byte, login bool, hide ...secret.Bytes) error {
	said := serverSays(body, hide...)
	fail := func(kind fault.Kind, step Step, text string) error {
		if said != "" {
			text += " (it says: " + said + ")"
		}
		return fault.New(kind, op, subject, &Failure{step, text, nil})
	}
	switch {
	case status == http.StatusServiceUnavailable && strings.Contains(said, "sealed"):
		return fail(fault.Unavailable, StepServer, "the server is sealed: unseal it")
	case status == http.StatusTooManyRequests:
		return fail(fault.Unavailable, StepServer, "the server answers 429: it is asked too often, or it is a standby")
	case status == 472 || status == 473:
		return fail(fault.Unavailable, StepServer, "the server is a standby: give the address of the active node, or of what balances them")
	case status >= 500 || status == http.StatusPreconditionFailed:
		return fail(fault.Unavailable, StepServer, "the server answers "+strconv.Itoa(status))
	case login && status < 500:
		return fail(fault.Denied, StepLogin, "the server refuses the login with "+strconv.Itoa(status))
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		return fail(fault.Denied, StepRead, "the server denies it: the token is wrong or expired, or its policy does not allow it")
	case status == http.StatusNotFound:
		return fail(fault.NotFound, StepRead, "there is nothing by that name")
	}
	return fail(fault.Invalid, StepRead, "the server answers "+strconv.Itoa(status))
}

// serverSays is the first error text of an answer, fit to be shown: another server may stand there, which sends back
// what it got.
func serverSays(body []byte, hide ...secret.Bytes) string {
	var answer struct{ Errors []string }
	if json.Unmarshal(body, &answer) != nil || len(answer.Errors) == 0 {
		return ""
	}
	text := strings.Join(strings.Fields(answer.Errors[0]), " ")
	for _, one := range hide {
		shown := false
		one.Reveal(func(data []byte) { shown = len(data) > 0 && strings.Contains(text, string(data)) })
		if shown {
			return "something that holds the token"
		}
	}
	if len(text) > maxShown {
		text = text[:maxShown] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}
