// Package all lists the plugins of a data plane. The list is the only place where a new one is named.
package all

import (
	"crypto/x509"
	"log/slog"

	"github.com/keepgate/keepgate/dataplane/cachestore"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/plugin/acl"
	"github.com/keepgate/keepgate/dataplane/plugin/basicauth"
	"github.com/keepgate/keepgate/dataplane/plugin/correlationid"
	"github.com/keepgate/keepgate/dataplane/plugin/cors"
	"github.com/keepgate/keepgate/dataplane/plugin/filelog"
	"github.com/keepgate/keepgate/dataplane/plugin/httplog"
	"github.com/keepgate/keepgate/dataplane/plugin/iprestriction"
	"github.com/keepgate/keepgate/dataplane/plugin/jwt"
	"github.com/keepgate/keepgate/dataplane/plugin/keyauth"
	"github.com/keepgate/keepgate/dataplane/plugin/kvmlookup"
	"github.com/keepgate/keepgate/dataplane/plugin/mtlsauth"
	"github.com/keepgate/keepgate/dataplane/plugin/prometheus"
	"github.com/keepgate/keepgate/dataplane/plugin/proxycache"
	"github.com/keepgate/keepgate/dataplane/plugin/ratelimiting"
	"github.com/keepgate/keepgate/dataplane/plugin/requestsizelimiting"
	"github.com/keepgate/keepgate/dataplane/plugin/requesttermination"
	"github.com/keepgate/keepgate/dataplane/plugin/requesttransformer"
	"github.com/keepgate/keepgate/dataplane/plugin/responsetransformer"
	"github.com/keepgate/keepgate/shared/verifier"
)

// Options is what plugins take from the process. The zero value is right for tests.
type Options struct {
	Passwords verifier.Options
	Prefix    string            // the folder that relative paths of files lie below
	Log       *slog.Logger      // hears what no client is told; nil: nobody does
	Health    prometheus.Health // visits the addresses of upstreams' targets; nil: there are none
	Cache     *cachestore.Cache // where proxy-cache keeps responses; nil: in memory
	MaxEntry  int64             // the largest response that it keeps; 0: 8 MiB
	Roots     *x509.CertPool    // authorities that servers are verified against; nil: the system's
}

// Kinds returns every plugin. What plugins share for the whole process is made here, once.
func Kinds(o Options) []plugin.Kind {
	return []plugin.Kind{
		keyauth.Kind{},
		mtlsauth.New(o.Log),
		jwt.New(),
		basicauth.New(verifier.NewGuard(o.Passwords)),
		acl.Kind{},
		cors.Kind{},
		iprestriction.Kind{},
		requesttermination.Kind{},
		responsetransformer.New(),
		kvmlookup.New(),
		requesttransformer.New(),
		correlationid.New(),
		requestsizelimiting.Kind{},
		ratelimiting.New(ratelimiting.Options{Log: o.Log}),
		filelog.New(o.Prefix, o.Log),
		prometheus.New(o.Health),
		proxycache.New(proxycache.Options{Cache: o.Cache, MaxEntry: o.MaxEntry}),
		httplog.New(httplog.Options{Roots: o.Roots, Log: o.Log}),
	}
}
