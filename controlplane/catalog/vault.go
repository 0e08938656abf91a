package catalog

import (
	"context"

	"google.golang.org/protobuf/proto"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/vaultrule"
)

// checkVault refuses a vault that no gate would ask, since it is another workspace's than the default one and brings no login along.
func (c *Catalog) checkVault(ctx context.Context, m proto.Message, workspace string) (*Problem, error) {
	if _, is := m.(*configv1.Vault); !is {
		return nil, nil
	}
	defaultID, err := c.Workspace(ctx, "")
	return checkVault(m, workspace == defaultID), err
}

func checkVault(m proto.Message, defaults bool) *Problem {
	v, is := m.(*configv1.Vault)
	if !is || defaults {
		return nil
	}
	c := v.GetConfig()
	faults := vaultrule.Elsewhere(vaultrule.Vault{Kind: v.GetName(), Token: c.GetToken(), Kubernetes: c.GetAuthMethod() == "kubernetes"})
	if len(faults) == 0 {
		return nil
	}
	field := "name"
	if faults[0].Field != "" {
		field = "config." + faults[0].Field
	}
	return problemOf(schema.FieldViolation(field, faults[0].Message))
}
