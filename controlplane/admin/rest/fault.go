package rest

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// unexpected is Kong's message for what is nobody's business outside.
const unexpected = "An unexpected error occurred"

// Of turns an error into the answer for it. Report says that it belongs in the log too.
func Of(err error) (answer Answer, report bool) {
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		if refusal.Body == nil {
			return Answer{Status: refusal.Status}, false
		}
		answer = JSON(refusal.Status, refusal.Body)
		answer.Header = refusal.Header
		return answer, false
	}
	if problem, ok := errors.AsType[*catalog.Problem](err); ok {
		return JSON(problem.Status, ProblemBody(problem)), false
	}
	if body, ok := errors.AsType[schema.BodyError](err); ok {
		return Message(http.StatusBadRequest, string(body)), false
	}
	if violations, ok := errors.AsType[*schema.Violations](err); ok {
		return JSON(http.StatusBadRequest, map[string]any{
			"code": violations.Code(), "name": violations.Name(), "message": violations.Message(), "fields": violations.Fields(),
		}), false
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return Message(http.StatusRequestEntityTooLarge, "Payload too large"), false
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Message(http.StatusServiceUnavailable, "the request was given up"), false
	}
	return ofFault(err)
}

// ProblemBody is Kong's body of a problem.
func ProblemBody(p *catalog.Problem) map[string]any {
	body := map[string]any{"message": p.Message}
	if p.Code == catalog.NotFound && p.Fields == nil { // of a nested path, where Kong says no more
		return body
	}
	body["code"], body["name"] = int(p.Code), p.Name
	if p.Fields != nil {
		body["fields"] = p.Fields
	}
	return body
}

func ofFault(err error) (Answer, bool) {
	message := causeOf(err)
	switch fault.KindOf(err) {
	case fault.Invalid:
		return Message(http.StatusBadRequest, message), false
	case fault.NotFound:
		return Message(http.StatusNotFound, message), false
	case fault.Conflict:
		return Message(http.StatusConflict, message), false
	case fault.Unavailable:
		return JSON(http.StatusServiceUnavailable, Unavailable(err)), true
	case fault.Corrupt:
		body := map[string]any{"message": unexpected, "name": "stored value does not verify"}
		if subject := fault.SubjectOf(err); subject != "" {
			body["subject"] = subject
		}
		return JSON(http.StatusInternalServerError, body), true
	}
	return Message(http.StatusInternalServerError, unexpected), true
}

// Unavailable is the body for what another time may work: a key of the keyring that is missing is named, and a KMS
// plugin without which nothing is written.
func Unavailable(err error) map[string]any {
	const keyFile = "keyring_local_key_file" // the setting, as the keyring names what its error is about
	if fault.SubjectOf(err) == keyFile {
		return map[string]any{"name": "key file unavailable", "message": keyFile + ": " + causeOf(err)}
	}
	if name, isPlugin := strings.CutPrefix(fault.SubjectOf(err), "kms/"); isPlugin {
		return map[string]any{"name": "KMS plugin unavailable", "kms": name, "message": causeOf(err)}
	}
	id, isKey := strings.CutPrefix(fault.SubjectOf(err), "key/")
	if !isKey {
		return map[string]any{"name": "unavailable", "message": "the database cannot be used now; try again later"}
	}
	return map[string]any{
		"name": "key unavailable", "key_id": id,
		"message": "key " + id + " of the keyring is not available on this node: " + causeOf(err) +
			"; GET /keyring shows what is missing and what brings it back",
	}
}

// causeOf is the text of the innermost fault, without the operations around it.
func causeOf(err error) string {
	text := err.Error()
	for {
		f, ok := errors.AsType[*fault.Error](err)
		if !ok {
			return text
		}
		err, text = f.Err, f.Err.Error()
	}
}
