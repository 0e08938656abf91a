// Package all lists the plugins of a data plane. The list is the only place where a new one is named.
package all

import (
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/plugin/basicauth"
	"github.com/keepgate/keepgate/dataplane/plugin/keyauth"
	"github.com/keepgate/keepgate/dataplane/plugin/requesttermination"
	"github.com/keepgate/keepgate/shared/verifier"
)

// Kinds returns every plugin. What plugins share for the whole process is made here, once.
func Kinds(guard verifier.Options) []plugin.Kind {
	return []plugin.Kind{
		keyauth.Kind{},
		basicauth.New(verifier.NewGuard(guard)),
		requesttermination.Kind{},
	}
}
