// Package environments is what the Admin API says and does about environments beyond making and changing their rows, which is
// package entities': taking one away, what one holds, and another fingerprint key for it.
package environments

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/fleet"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
)

const (
	table = "environments"
	// maxNamed is how many data planes a refusal names.
	maxNamed = 20
)

// Catalog holds the rows; controlplane/catalog says what each method promises.
type Catalog interface {
	Get(ctx context.Context, at catalog.Address) (proto.Message, error)
	Delete(ctx context.Context, at catalog.Address) error
}

// Deps is what the API stands on.
type Deps struct {
	Catalog Catalog
	Fleet   interface {
		List(ctx context.Context) ([]fleet.Status, error)
	}
	// Enrolled names the data planes of an environment that have a certificate which is valid. nil: nobody is enrolled.
	Enrolled func(environment string) []string
	// Revoked reports whether a data plane was shut out. nil: nobody was.
	Revoked func(environment, name string) bool
	// RotateKey gives an environment another fingerprint key; the one before stays until all of its data planes have the new one.
	// nil: keys are not changed here.
	RotateKey func(ctx context.Context, environment string) error
	// KeyOf says which fingerprint key an environment has. It is fault.NotFound before the database was read.
	KeyOf func(ctx context.Context, environment string) (Key, error)
	// Holds lists what an environment holds, by kind and id. It is fault.Unavailable before the
	// database was read. nil: it is not told.
	Holds func(environment string) ([]Held, error)
	// Kinds lists the tables that environments may hold something of.
	Kinds []string
	Wake  func() // hints that something was committed
}

// API answers for environments.
type API struct{ deps Deps }

// New makes the API.
func New(deps Deps) *API { return &API{deps} }

// Mount adds all paths. The one to delete by takes the place of package entities'.
func (a *API) Mount(t *rest.Table) {
	t.Handle("DELETE", "/environments/{environments}", a.remove)
	if a.deps.Holds != nil {
		t.Handle("GET", "/environments/{environments}/holds", a.holds)
	}
	if a.deps.RotateKey != nil {
		t.Handle("GET", "/environments/{environments}/fingerprint-key", a.key)
		t.Handle("POST", "/environments/{environments}/fingerprint-key/rotate", a.rotate)
	}
}

// find reads the environment of a path, by name or id.
func (a *API) find(r *rest.Request) (*configv1.Environment, error) {
	m, err := a.deps.Catalog.Get(r.Context(), catalog.Address{Table: table, Key: r.Param(0)})
	if err != nil {
		return nil, err
	}
	environment, _ := m.(*configv1.Environment) // there is no other message of that table
	return environment, nil
}

// remove takes an environment away, unless data planes belong to it: they would be refused from then on, and one that
// were made later under its name would be theirs.
func (a *API) remove(r *rest.Request) (rest.Answer, error) {
	environment, err := a.find(r)
	if fault.KindOf(err) == fault.NotFound {
		return rest.NoContent(), nil
	}
	if err != nil {
		return rest.Answer{}, err
	}
	if name := environment.GetName(); name != catalog.DefaultName { // which the catalog keeps
		if err := a.refuseUsed(r.Context(), name); err != nil {
			return rest.Answer{}, err
		}
	}
	if err := a.deps.Catalog.Delete(r.Context(), catalog.Address{Table: table, Key: r.Param(0)}); err != nil {
		return rest.Answer{}, err
	}
	a.deps.Wake()
	return rest.NoContent(), nil
}

func (a *API) refuseUsed(ctx context.Context, environment string) error {
	members, err := a.members(ctx, environment)
	if err != nil || len(members) == 0 {
		return err
	}
	shown, more := members, ""
	if len(members) > maxNamed {
		shown, more = members[:maxNamed], fmt.Sprintf(" and %d more", len(members)-maxNamed)
	}
	return &rest.Refusal{Status: http.StatusBadRequest, Body: map[string]any{
		"code": int(catalog.ForeignKeyViolation), "name": "foreign key violation", "fields": map[string]any{"@referenced_by": shown},
		"message": fmt.Sprintf("environment %s still has data planes: %s%s; revoke them (keepgate-cp fleet revoke NAME --environment %s), "+
			"or stop them and wait until cluster_data_plane_purge_delay is over", environment, strings.Join(shown, ", "), more, environment),
	}}
}

// members names the data planes that belong to an environment: who could link, and who did and was not shut out since.
func (a *API) members(ctx context.Context, environment string) (names []string, err error) {
	all, err := a.deps.Fleet.List(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for _, s := range all {
		if s.Environment != environment || a.deps.Revoked != nil && a.deps.Revoked(environment, s.Name) && s.Away(now) {
			continue
		}
		names = append(names, s.Name)
	}
	if a.deps.Enrolled != nil {
		names = append(names, a.deps.Enrolled(environment)...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
