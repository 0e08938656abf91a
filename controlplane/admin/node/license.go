package node

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/license"
)

// License knows the license in force.
type License interface{ Status() license.Status }

// license is the license in force: its state and its date, and nothing else of it.
func (a *API) license() license.Status {
	if a.deps.License == nil {
		return license.Status{State: license.None}
	}
	return a.deps.License.Status()
}

// licenseReport is GET /license/report: what is configured, counted over all workspaces. Requests are not in it:
// data planes count them and keep them in their metrics.
func (a *API) licenseReport(r *rest.Request) (rest.Answer, error) {
	workspaces, err := a.workspaces(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	planes, err := a.deps.Fleet.List(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	body := map[string]any{
		"license": a.license(), "kong_version": KongVersion, "keepgate_version": a.facts.Version,
		"deployment_info": map[string]any{"type": "hybrid"},
		"system_info":     map[string]any{"hostname": a.facts.Hostname, "cores": runtime.NumCPU()},
		"timestamp":       time.Now().Unix(), "workspaces_count": len(workspaces), "data_planes_count": len(planes),
	}
	for _, table := range []string{"services", "routes", "consumers", "plugins", "upstreams"} {
		if body[table+"_count"], err = a.count(r.Context(), table, workspaces); err != nil {
			return rest.Answer{}, err
		}
	}
	return rest.JSON(http.StatusOK, body), nil
}

// workspaces lists the ids of all workspaces.
func (a *API) workspaces(ctx context.Context) (ids []string, err error) {
	e, _ := a.deps.Schema.Entity("workspaces")
	err = a.pages(ctx, catalog.Query{Table: "workspaces"}, func(page catalog.Page) {
		for _, m := range page.Entities {
			ids = append(ids, e.ID(m))
		}
	})
	return ids, err
}

func (a *API) count(ctx context.Context, table string, workspaces []string) (n int, err error) {
	for _, id := range workspaces {
		err := a.pages(ctx, catalog.Query{Table: table, Workspace: id}, func(page catalog.Page) {
			n += len(page.Entities) + len(page.Undecryptable)
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// pages lends every page of a list to use.
func (a *API) pages(ctx context.Context, query catalog.Query, use func(catalog.Page)) error {
	query.Size = 1000
	for {
		page, err := a.deps.Catalog.List(ctx, query)
		if err != nil {
			return err
		}
		use(page)
		if !page.More {
			return nil
		}
		query.After = page.Last
	}
}
