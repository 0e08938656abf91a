package catalog

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// Code is Kong's number of a refusal.
type Code int

const (
	SchemaViolation       Code = 2
	PrimaryKeyViolation   Code = 3
	ForeignKeyViolation   Code = 4
	UniqueViolation       Code = 5
	NotFound              Code = 6
	ForeignKeysUnresolved Code = 13
	ReferencedByOthers    Code = 19
)

// Problem is a refusal as Kong says it: {"code","name","message","fields"} with an HTTP status. Message and
// Fields never hold a secret: where Kong quotes a credential they say REDACTED.
type Problem struct {
	Code    Code
	Name    string
	Status  int
	Message string
	Fields  map[string]any // a JSON tree; nil when Kong says no more than the message
}

func (p *Problem) Error() string { return p.Message }

// fault wraps the problem for the border.
func (p *Problem) fault(op, subject string) error {
	kind := fault.Invalid
	switch p.Code {
	case NotFound:
		kind = fault.NotFound
	case UniqueViolation, PrimaryKeyViolation, ReferencedByOthers:
		kind = fault.Conflict
	}
	return fault.New(kind, "catalog."+op, subject, p)
}

// problemOf gives a refusal of the schema its HTTP status.
func problemOf(v *schema.Violations) *Problem {
	status := http.StatusBadRequest
	if Code(v.Code()) == UniqueViolation {
		status = http.StatusConflict
	}
	return &Problem{Code: Code(v.Code()), Name: v.Name(), Status: status, Message: v.Message(), Fields: v.Fields()}
}

// violation is a schema violation of one field, found by a rule that needs other rows.
func violation(field, message string) *Problem {
	return problemOf(schema.FieldViolation(field, message))
}

func notFound(key map[string]any, by string) *Problem {
	return &Problem{
		Code: NotFound, Name: "not found", Status: http.StatusNotFound, Fields: key,
		Message: fmt.Sprintf("could not find the entity with %s'%s'", by, schema.LuaTable(key)),
	}
}

func notFoundByID(id string) *Problem { return notFound(map[string]any{"id": id}, "primary key ") }

func notFoundByKey(field, value string) *Problem { return notFound(map[string]any{field: value}, "") }

// noParent says of a nested path no more than Kong does.
func noParent() *Problem {
	return &Problem{Code: NotFound, Name: "not found", Status: http.StatusNotFound, Message: "Not found"}
}

// caReferenced says that a service or plugin still trusts a CA certificate.
func caReferenced(id, table, by string) *Problem {
	return &Problem{
		Code: ReferencedByOthers, Name: "referenced by others", Status: http.StatusBadRequest,
		Message: fmt.Sprintf("ca certificate %s is still referenced by %s (id = %s)", id, table, by),
	}
}

// redacted stands where Kong would quote a secret.
const redacted = "REDACTED"

// built turns an error of schema.Build into what crosses the border.
func built(op string, e *schema.Entity, err error) error {
	if v, ok := errors.AsType[*schema.Violations](err); ok {
		return problemOf(v).fault(op, e.Table)
	}
	return err
}

// refused turns a store's refusal of a batch into Kong's words. message finds the entity that a row of the
// batch was made of, nil when the batch deleted it. Other errors are returned as they are.
func (c *Catalog) refused(op string, err error, message func(table, id string) proto.Message) error {
	if unique, ok := errors.AsType[*record.UniqueError](err); ok {
		e, known := c.schema.Entity(unique.Table)
		m := message(unique.Table, unique.ID)
		if !known || m == nil {
			return err
		}
		return problemOf(c.schema.UniqueViolation(e, m, column(e, unique))).fault(op, subject(unique.Table, unique.ID))
	}
	if reference, ok := errors.AsType[*record.ReferenceError](err); ok {
		if !reference.Missing {
			v := schema.ReferencedViolation(reference.Referenced, reference.Table)
			return problemOf(v).fault(op, subject(reference.Referenced, reference.Target))
		}
		v := schema.ForeignKeyViolation(reference.Column, reference.Referenced, reference.Target)
		return problemOf(v).fault(op, subject(reference.Table, reference.ID))
	}
	if exists, ok := errors.AsType[*record.ExistsError](err); ok {
		return problemOf(schema.PrimaryKeyViolation(exists.ID)).fault(op, subject(exists.Table, exists.ID))
	}
	return err
}

// column finds the unique key of the schema that a store's error names by its fields.
func column(e *schema.Entity, unique *record.UniqueError) string {
	fields := unique.Fields()
	for _, u := range e.Unique {
		if len(u.Fields) != len(fields) {
			continue
		}
		same := true
		for i, f := range u.Fields {
			same = same && f.Name == fields[i]
		}
		if same {
			return u.Column
		}
	}
	return unique.Column
}

// raced reports whether a batch was refused because somebody else wrote one of its rows first.
func raced(err error) bool {
	if fault.KindOf(err) != fault.Conflict {
		return false
	}
	_, unique := errors.AsType[*record.UniqueError](err)
	_, reference := errors.AsType[*record.ReferenceError](err)
	_, exists := errors.AsType[*record.ExistsError](err)
	_, refused := errors.AsType[*Problem](err)
	return !unique && !reference && !exists && !refused
}

// keyEnded names the key that was taken out of use after a batch was sealed under it.
func keyEnded(err error) (subject string, ended bool) {
	subject = fault.SubjectOf(err)
	return subject, raced(err) && strings.HasPrefix(subject, "key/")
}

// keyPause is left to the keyring to hear which key seals now, longer with every attempt.
const keyPause = 50 * time.Millisecond

// again returns why a batch that others raced is not to be made again.
func again(ctx context.Context, err error, attempt, attempts int) error {
	subject, ended := keyEnded(err)
	if !ended {
		return ctx.Err()
	}
	if attempt == attempts-1 {
		return fault.New(fault.Unavailable, "catalog.Write", subject, err)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(keyPause << min(attempt, 3)):
		return nil
	}
}
