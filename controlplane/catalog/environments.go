package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// fieldWorkspaces names, by name, the workspaces that an environment may get entities of. There are no foreign keys in
// lists, so that the same is promised here as for CA certificates: what is named exists, and stays as long as it is named.
const fieldWorkspaces = "workspaces"

// checkEnvironment refuses an environment that names a workspace which does not exist, and gives a new one its fingerprint
// key.
func (c *Catalog) checkEnvironment(ctx context.Context, e *schema.Entity, m proto.Message) (*Problem, error) {
	if e.Table != tableEnvironments {
		return nil, nil
	}
	if because := c.options.OneEnvironment; because != "" && text(m, "name") != "default" {
		return violation("name", because), nil
	}
	if text(m, fieldFingerprintKey) == "" {
		newFingerprintKey(m)
	}
	var absent []string
	for _, name := range values(m, fieldWorkspaces) {
		_, err := c.store.ByUnique(ctx, tableWorkspaces, "", "name", name)
		if fault.KindOf(err) == fault.NotFound {
			absent = append(absent, name)
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	if len(absent) == 0 {
		return nil, nil
	}
	return violation(fieldWorkspaces, "no such workspace: "+strings.Join(absent, ", ")), nil
}

// namedByEnvironment says which environment still names a workspace.
func (c *Catalog) namedByEnvironment(ctx context.Context, workspace string) (*Problem, error) {
	rows, err := c.store.List(ctx, record.Query{Table: tableEnvironments})
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		_, m, err := c.decode(row)
		if err != nil {
			return nil, err
		}
		if slices.Contains(values(m, fieldWorkspaces), workspace) {
			return workspaceReferenced(workspace, row.Unique["name"]), nil
		}
	}
	return nil, nil
}

// workspaceReferenced says that an environment still selects a workspace.
func workspaceReferenced(workspace, environment string) *Problem {
	p := problemOf(schema.ReferencedViolation(tableWorkspaces, tableEnvironments))
	p.Message = fmt.Sprintf("workspace %s is still named by environment %s: take it out of its workspaces first", workspace, environment)
	return p
}
