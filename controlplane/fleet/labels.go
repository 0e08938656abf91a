package fleet

import (
	"fmt"
	"maps"
	"slices"

	"github.com/keepgate/keepgate/shared/settings/values"
)

// proper returns the labels that are some by Kong's rules, which cluster_dp_labels is held to where it is set. The
// others are dropped, and the log says so: a data plane may be another program than ours.
func (f *Fleet) proper(node string, given map[string]string) map[string]string {
	var kept map[string]string
	var why error
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if err := values.CheckLabel(name, given[name]); err != nil {
			why = err
			continue
		}
		if len(kept) == values.MaxLabels {
			why = fmt.Errorf("at most %d labels are kept", values.MaxLabels)
			break
		}
		if kept == nil {
			kept = map[string]string{}
		}
		kept[name] = given[name]
	}
	if why != nil {
		f.options.Log.Warn("labels of a data plane are dropped", "data_plane", node, "dropped", len(given)-len(kept), "one_because", why)
	}
	return kept
}
