package entities

import (
	"encoding/json"
	"net/http"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/shared/schema"
)

func (a *API) mountSchemas(t *rest.Table) {
	t.Handle("GET", "/schemas/{entity}", a.describe)
	t.Handle("POST", "/schemas/{entity}/validate", func(r *rest.Request) (rest.Answer, error) {
		return a.validate(r, r.Param(0))
	})
	t.Handle("GET", "/schemas/plugins/{name}", a.describePlugin)
	t.Handle("POST", "/schemas/plugins/validate", func(r *rest.Request) (rest.Answer, error) {
		return a.validate(r, "plugins")
	})
	t.Handle("GET", "/schemas/vaults/{name}", a.describeVault)
	t.Handle("POST", "/schemas/vaults/validate", func(r *rest.Request) (rest.Answer, error) {
		return a.validate(r, "vaults")
	})
}

func (a *API) describe(r *rest.Request) (rest.Answer, error) {
	body, found := a.schema.Describe(r.Param(0))
	if !found {
		return rest.Answer{}, noEntity(r.Param(0))
	}
	return rest.Answer{Status: http.StatusOK, Body: body}, nil
}

func noEntity(name string) error {
	return rest.Refuse(http.StatusNotFound, "No entity named '%s'", name)
}

func (a *API) describePlugin(r *rest.Request) (rest.Answer, error) {
	body, found := a.schema.DescribePlugin(r.Param(0))
	if !found {
		return rest.Answer{}, rest.Refuse(http.StatusNotFound, "No plugin named '%s'", r.Param(0))
	}
	return rest.Answer{Status: http.StatusOK, Body: body}, nil
}

func (a *API) describeVault(r *rest.Request) (rest.Answer, error) {
	body, found := a.schema.DescribeVault(r.Param(0))
	if !found {
		return rest.Answer{}, rest.Refuse(http.StatusNotFound, "No vault named '%s'", r.Param(0))
	}
	return rest.Answer{Status: http.StatusOK, Body: body}, nil
}

// validate checks a document by itself: what it refers to need not exist.
func (a *API) validate(r *rest.Request, table string) (rest.Answer, error) {
	e, found := a.schema.Entity(table)
	if !found || e.Internal {
		return rest.Answer{}, noEntity(table)
	}
	doc, err := r.Document(a.schema, e)
	if err != nil {
		return rest.Answer{}, err
	}
	if _, err := a.schema.Build(e, nil, doc, schema.Insert, nil); err != nil {
		return rest.Answer{}, err
	}
	return rest.Message(http.StatusOK, "schema validation successful"), nil
}

func (a *API) mountPlugins(t *rest.Table) {
	t.Handle("GET", "/plugins/enabled", func(*rest.Request) (rest.Answer, error) {
		return rest.JSON(http.StatusOK, map[string]any{"enabled_plugins": a.schema.Plugins()}), nil
	})
	t.Handle("GET", "/plugins/schema/{name}", a.pluginConfig)
}

// pluginConfig is the older form of a plugin's schema: its configuration alone.
func (a *API) pluginConfig(r *rest.Request) (rest.Answer, error) {
	answer, err := a.describePlugin(r)
	if err != nil {
		return answer, err
	}
	var whole struct {
		Fields []map[string]struct {
			Fields json.RawMessage `json:"fields"`
		} `json:"fields"`
	}
	if err := json.Unmarshal(answer.Body, &whole); err != nil {
		return answer, err
	}
	for _, field := range whole.Fields {
		if config, found := field["config"]; found {
			return rest.JSON(http.StatusOK, map[string]any{"fields": config.Fields}), nil
		}
	}
	return answer, nil
}
