package catalog

import (
	"context"

	"github.com/keepgate/keepgate/controlplane/encryption"
)

// ExplainedField is how one encrypted field of a row rests. It holds nothing of its value.
type ExplainedField struct {
	Field string `json:"field"` // schema path
	encryption.Explanation
}

// Explain says of each encrypted field of one row who sealed it. explain looks at a stored text, and must not keep it.
// A missing row is a [Problem] with code [NotFound].
func (c *Catalog) Explain(ctx context.Context, at Address, explain func(table, text string) encryption.Explanation) (id string, fields []ExplainedField, err error) {
	const op = "Explain"
	e, err := c.entity(op, at.Table)
	if err != nil {
		return "", nil, err
	}
	row, err := c.find(ctx, op, e, at.Workspace, at.Key, nil)
	if err != nil {
		return "", nil, err
	}
	_, m, err := c.decode(row)
	if err != nil {
		return "", nil, err
	}
	c.schema.SetColumns(e, m, row.Sealed)
	err = c.schema.Secrets(e, m, func(field, text string) (string, error) {
		fields = append(fields, ExplainedField{field, explain(row.Table, text)})
		return text, nil
	})
	return row.ID, fields, err
}
