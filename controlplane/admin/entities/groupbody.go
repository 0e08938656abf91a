package entities

import (
	"context"
	"errors"
	"net/http"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/schema"
)

// named reads whom a body names: a name or an id, a list of them, or records with one of them.
func named(doc schema.Document, s side) ([]string, error) {
	given, found := doc[s.argument]
	if !found {
		given = doc[s.otherField]
	}
	for field := range doc {
		if field != s.argument && field != s.otherField && field != "tags" {
			return nil, schema.FieldViolation(field, "unknown field")
		}
	}
	list, isList := given.([]any)
	if !isList {
		list = []any{given}
	}
	names := make([]string, 0, len(list))
	for _, one := range list {
		name, ok := one.(string)
		if reference, isRecord := one.(map[string]any); isRecord {
			for _, key := range []string{"id", "username", "name"} {
				if !ok {
					name, ok = reference[key].(string)
				}
			}
		}
		if !ok || name == "" {
			return nil, schema.FieldViolation(s.argument, "required field missing")
		}
		names = append(names, name)
	}
	return names, nil
}

// look finds one whom a body names.
func (a *API) look(ctx context.Context, workspace, name string, s side) (proto.Message, error) {
	m, err := a.catalog.Get(ctx, catalog.Address{Table: s.other.Table, Workspace: workspace, Key: name})
	if plainly(err) != err {
		return nil, rest.Refuse(http.StatusNotFound, "%s '%s' not found", s.argument, name)
	}
	return m, err
}

// isTwice: the member is there already.
func isTwice(err error) bool {
	problem, ok := errors.AsType[*catalog.Problem](err)
	return ok && problem.Code == catalog.UniqueViolation
}

// object is an answer whose members have an order.
type object []member

type member struct {
	name string
	json []byte
}

func (o object) bytes() []byte {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, '"'), m.name...)
		b = append(append(b, `":`...), m.json...)
	}
	return append(b, '}')
}

func array(items [][]byte) []byte {
	b := []byte{'['}
	for i, item := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, item...)
	}
	return append(b, ']')
}
