package authority

import (
	"context"
	"fmt"
	"slices"
)

// maxNamed is how many nodes a refusal names.
const maxNamed = 20

// lacking names who does not believe an authority yet. Data planes that go by files of their operators cannot say what they believe and are
// not waited for: an edge authority certifies none of them.
func (a *Authorities) lacking(ctx context.Context, r *root) ([]string, error) {
	if r.Since == 0 {
		return nil, nil
	}
	nodes, err := a.deps.ControlPlanes(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, node := range nodes {
		if node.Sequence < r.Since {
			names = append(names, "control plane node "+node.Name)
		}
	}
	if nodes, err = a.deps.DataPlanes(ctx); err != nil {
		return nil, err
	}
	for _, node := range nodes {
		if node.Sequence != 0 && node.Sequence < r.Since {
			names = append(names, "data plane "+node.Name)
		}
	}
	return bounded(names), nil
}

// needing names who would be cut off if a family of authorities were not believed any more, or would not believe control planes: signing is
// the authority that signs, nil where none does.
func (a *Authorities) needing(ctx context.Context, d *document, family []string, signing *root) (names []string, err error) {
	since := uint64(0)
	if signing != nil {
		since = signing.Since
	}
	of := func(node Holder) bool {
		return len(node.Roots) > 0 && !slices.ContainsFunc(node.Roots, func(id string) bool { return !slices.Contains(family, id) && d.believes(id) })
	}
	nodes, err := a.deps.ControlPlanes(ctx)
	if err != nil {
		return nil, err
	}
	for _, node := range nodes {
		switch {
		case of(node):
			names = append(names, fmt.Sprintf("control plane node %s (its own certificate is of it)", node.Name))
		case node.Sequence < since:
			names = append(names, fmt.Sprintf("control plane node %s (does not believe the next one yet)", node.Name))
		}
	}
	if nodes, err = a.deps.DataPlanes(ctx); err != nil {
		return nil, err
	}
	for _, node := range nodes {
		switch {
		case of(node):
			names = append(names, fmt.Sprintf("data plane %s (its certificate is of it)", node.Name))
		case node.Sequence != 0 && node.Sequence < since:
			names = append(names, fmt.Sprintf("data plane %s (does not believe the next one yet)", node.Name))
		}
	}
	return bounded(names), nil
}

func (d *document) believes(id string) bool {
	r := d.root(id)
	return r != nil && r.State != Retired
}

func bounded(names []string) []string {
	if more := len(names) - maxNamed; more > 0 {
		return append(names[:maxNamed:maxNamed], fmt.Sprintf("and %d more", more))
	}
	return names
}
