package providerconfig

import (
	"slices"

	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/schema"
)

// Options say what a file may ask for on this node.
type Options struct {
	Tables       []string // those with encrypted fields
	Clear        []string // tables without any, for a better answer to who names one
	Keyring      bool     // there is a ring
	Gates        Gates
	AllowUnbound bool                        // aescbc and secretbox may write
	Endpoint     func(endpoint string) error // whether a plugin can be there at all; nil: not looked at
}

// OptionsOf are those of a node with these settings.
func OptionsOf(s *schema.Schema, keyring, allowUnbound bool, featureGates string) (Options, error) {
	gates, err := ParseGates(featureGates)
	o := Options{Keyring: keyring, Gates: gates, AllowUnbound: allowUnbound, Endpoint: kmsclient.CheckEndpoint}
	for _, e := range s.Entities() {
		if len(e.Sealed) > 0 || e.SecretsInBody() {
			o.Tables = append(o.Tables, e.Table)
		} else {
			o.Clear = append(o.Clear, e.Table)
		}
	}
	slices.Sort(o.Tables)
	slices.Sort(o.Clear)
	return o, err
}
