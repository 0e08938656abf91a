package catalog

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/shared/schema"
)

const (
	tablePlugins  = "plugins"
	tableRoutes   = "routes"
	tableServices = "services"
)

// checkPlugin refuses a plugin whose protocols never meet those of what it is bound to.
func (c *Catalog) checkPlugin(v view, e *schema.Entity, m proto.Message) (*Problem, error) {
	if e.Table != tablePlugins {
		return nil, nil
	}
	protocols := values(m, "protocols")
	if id := refID(m, "route"); id != "" {
		route, err := v.entity(tableRoutes, id)
		if err != nil || route == nil || meet(protocols, values(route, "protocols")) {
			return nil, err
		}
		return violation("protocols", "must match the associated route's protocols"), nil
	}
	id := refID(m, "service")
	if id == "" {
		return nil, nil
	}
	routes, err := v.referring(tableRoutes, "service", id)
	if err != nil || len(routes) == 0 {
		return nil, err
	}
	for _, route := range routes {
		if meet(protocols, values(route, "protocols")) {
			return nil, nil
		}
	}
	return violation("protocols", "must match the protocols of at least one route pointing to this Plugin's service"), nil
}

func meet(a, b []string) bool {
	return slices.ContainsFunc(a, func(protocol string) bool { return slices.Contains(b, protocol) })
}
