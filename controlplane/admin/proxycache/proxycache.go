// Package proxycache is the part of the Admin API that purges responses which data planes keep (/proxy-cache), with Kong's paths.
//
// A purge is a mark in the configuration: every control plane node publishes it, every data plane that holds what it is about does it
// before it serves the version that brings it, one that was away too, and its acknowledgement of that version says that it did. What
// data planes keep is not known here: their own status port shows it.
package proxycache

import (
	"context"
	"net/http"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

const (
	table   = "cache_purges"
	plugin  = "proxy-cache"
	keySize = 64 // hexadecimal digits
)

// Catalog holds the marks; controlplane/catalog says what each method promises.
type Catalog interface {
	Get(ctx context.Context, at catalog.Address) (proto.Message, error)
	List(ctx context.Context, query catalog.Query) (catalog.Page, error)
	Insert(ctx context.Context, at catalog.Address, doc schema.Document) (proto.Message, error)
	Delete(ctx context.Context, at catalog.Address) error
}

// API answers for kept responses.
type API struct {
	catalog Catalog
	wake    func()
}

// New makes the API. wake hints that something was committed.
func New(c Catalog, wake func()) *API { return &API{c, wake} }

// Mount adds all paths.
func (a *API) Mount(t *rest.Table) {
	const all, one, below = "/proxy-cache", "/proxy-cache/{cache_key}", "/proxy-cache/{plugins}/caches"
	t.Handle("DELETE", all, func(r *rest.Request) (rest.Answer, error) { return a.purge(r, "", "") })
	t.Handle("GET", one, elsewhere)
	t.Handle("DELETE", one, func(r *rest.Request) (rest.Answer, error) { return a.purge(r, "", r.Param(0)) })
	t.Handle("DELETE", below, func(r *rest.Request) (rest.Answer, error) { return a.purge(r, r.Param(0), "") })
	t.Handle("GET", below+"/{cache_key}", elsewhere)
	t.Handle("DELETE", below+"/{cache_key}", func(r *rest.Request) (rest.Answer, error) {
		if r.Param(1) == "" {
			return rest.Answer{}, notKey()
		}
		return a.purge(r, r.Param(0), r.Param(1))
	})
}

// elsewhere says who knows.
func elsewhere(*rest.Request) (rest.Answer, error) {
	return rest.Answer{}, rest.Refuse(http.StatusNotFound, "data planes keep responses, the control plane none: ask for /proxy-cache/{key} at a data plane's status port (status_listen)")
}

// purge marks what is to go. of names the plugin, by id or instance_name; "" is all of the workspace.
func (a *API) purge(r *rest.Request, of, key string) (rest.Answer, error) {
	workspace, err := r.Resolve()
	if err != nil {
		return rest.Answer{}, err
	}
	if key != "" && (len(key) != keySize || strings.Trim(key, "0123456789abcdef") != "") {
		return rest.Answer{}, notKey()
	}
	wanted := mark{key: key}
	if of != "" {
		if wanted.plugin, err = a.plugin(r.Context(), workspace, of); err != nil {
			return rest.Answer{}, err
		}
	}
	if err := a.add(r.Context(), workspace, wanted); err != nil {
		return rest.Answer{}, err
	}
	a.wake()
	return rest.NoContent(), nil
}

// notKey says what a key is. The status is the one of a response that is not there, as in Kong.
func notKey() error {
	return rest.Refuse(http.StatusNotFound, "no kept response has such a key: it is %d hexadecimal digits in lower case, as the header X-Cache-Key of the response says", keySize)
}

// plugin finds the plugin's id.
func (a *API) plugin(ctx context.Context, workspace, key string) (id string, err error) {
	m, err := a.catalog.Get(ctx, catalog.Address{Table: "plugins", Workspace: workspace, Key: key})
	if fault.KindOf(err) == fault.NotFound {
		return "", rest.Refuse(http.StatusNotFound, "the workspace has no plugin with the id or instance_name %q", key)
	}
	if err != nil {
		return "", err
	}
	found, ok := m.(*configv1.Plugin)
	if !ok || found.GetName() != plugin {
		return "", rest.Refuse(http.StatusNotFound, "the plugin %q keeps no responses: it is %s", key, found.GetName())
	}
	return found.GetId(), nil
}
