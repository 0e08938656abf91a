package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/shared/fault"
)

// Code is Kong's number of a refusal.
type Code int

const (
	InvalidPrimaryKey       Code = 1
	SchemaViolation         Code = 2
	PrimaryKeyViolation     Code = 3
	ForeignKeyViolation     Code = 4
	UniqueViolation         Code = 5
	NotFound                Code = 6
	InvalidUnique           Code = 10
	ForeignKeysUnresolved   Code = 13
	InvalidDeclarative      Code = 14
	ReferencedByOthers      Code = 19
	statusBadRequest             = 400
	statusNotFound               = 404
	statusConflict               = 409
	declarativeConfigPrefix      = "declarative config is invalid: "
)

var codeNames = map[Code]string{
	InvalidPrimaryKey: "invalid primary key", SchemaViolation: "schema violation", PrimaryKeyViolation: "primary key violation",
	ForeignKeyViolation: "foreign key violation", UniqueViolation: "unique constraint violation", NotFound: "not found",
	InvalidUnique: "invalid unique", ForeignKeysUnresolved: "foreign keys unresolved",
	InvalidDeclarative: "invalid declarative configuration", ReferencedByOthers: "referenced by others",
}

// Problem is a refusal as Kong says it: {"code","name","message","fields"} with an HTTP status. Message and
// Fields never hold a secret: where Kong quotes a credential they say REDACTED.
type Problem struct {
	Code    Code
	Name    string
	Status  int
	Message string
	Fields  any // a JSON tree
}

func (p *Problem) Error() string { return p.Message }

func problem(code Code, message string, fields any) *Problem {
	status := statusBadRequest
	switch code {
	case NotFound:
		status = statusNotFound
	case UniqueViolation:
		status = statusConflict
	}
	return &Problem{Code: code, Name: codeNames[code], Status: status, Message: message, Fields: fields}
}

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

// violation is a schema violation of one field, found by a rule that needs other rows.
func violation(field, message string) *Problem {
	return problem(SchemaViolation, fmt.Sprintf("schema violation (%s: %s)", field, message), map[string]any{field: message})
}

func notFoundByID(id string) *Problem {
	fields := map[string]any{"id": id}
	return problem(NotFound, "could not find the entity with primary key '"+lua(fields)+"'", fields)
}

func notFoundByKey(field, value string) *Problem {
	fields := map[string]any{field: value}
	return problem(NotFound, "could not find the entity with '"+lua(fields)+"'", fields)
}

// redacted stands where Kong would quote a secret.
const redacted = "REDACTED"

// lua writes a tree as Kong's messages do, as a Lua table: keys sorted, null for nil.
func lua(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return `"` + strings.ReplaceAll(v, `"`, `\"`) + `"`
	case bool:
		return strconv.FormatBool(v)
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = lua(item)
		}
		return "{" + strings.Join(items, ",") + "}"
	case map[string]any:
		items := make([]string, 0, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			items = append(items, key+"="+lua(v[key]))
		}
		return "{" + strings.Join(items, ",") + "}"
	}
	return fmt.Sprint(v)
}
