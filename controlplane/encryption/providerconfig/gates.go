package providerconfig

import (
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/shared/fault"
)

// Gates are the feature gates that mean something here.
type Gates struct {
	KMSv1 bool // providers may speak the KMS v1 API
}

// ParseGates reads feature_gates as Kubernetes writes it: KMSv1=true, several after commas.
func ParseGates(text string) (gates Gates, err error) {
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, found := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		on, parseErr := strconv.ParseBool(strings.TrimSpace(value))
		switch {
		case name != "KMSv1":
			return gates, refuseGate("there is no gate %q; known is KMSv1", name)
		case seen[name]:
			return gates, refuseGate("gate %s is there twice", name)
		case !found || parseErr != nil:
			return gates, refuseGate("write %s=true or %s=false", name, name)
		}
		seen[name], gates.KMSv1 = true, on
	}
	return gates, nil
}

func refuseGate(format string, args ...any) error {
	return fault.Newf(fault.Invalid, "providerconfig.ParseGates", "feature_gates", format, args...)
}
