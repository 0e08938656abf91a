// Package guard decides who may speak to the Admin API at all, before any path is looked at.
//
// The API may change everything, and without access control (enforce_rbac, controlplane/admin/rbac) it is for this
// machine alone. What a machine's own user can reach, a web page in their browser can aim at; so, in any case:
//
//   - the Host header must be a loopback name or one that the operator named (against DNS rebinding);
//   - requests that a browser makes for another site are refused when they could change anything, and no
//     other site may read an answer, unless its origin is named;
//   - without access control, what reveals key material or exports everything needs the admin token, except from a
//     program on this machine: a loopback address, no Origin, and nothing that says a proxy forwarded the request.
package guard

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// Guard checks requests. It is safe for concurrent use.
type Guard struct {
	hosts   []string
	origins []string
	cross   *http.CrossOriginProtection
	token   [sha256.Size]byte
	hasKey  bool
}

// New makes a Guard. The token may be empty: then nobody has it.
func New(hosts, origins []string, token secret.Bytes) (*Guard, error) {
	g := &Guard{cross: http.NewCrossOriginProtection()}
	for _, host := range hosts {
		g.hosts = append(g.hosts, strings.ToLower(strings.TrimSuffix(host, ".")))
	}
	for _, origin := range origins {
		if err := g.cross.AddTrustedOrigin(origin); err != nil {
			return nil, fault.Newf(fault.Invalid, "admin.New", "admin_allowed_origins", "%q is no origin as https://gui.example.com: %v", origin, err)
		}
		g.origins = append(g.origins, origin)
	}
	token.Reveal(func(data []byte) {
		g.token, g.hasKey = sha256.Sum256(data), len(data) > 0
	})
	return g, nil
}

// Check refuses a request that nobody may make.
func (g *Guard) Check(r *http.Request) error {
	if !g.knows(r.Host) {
		return rest.Refuse(http.StatusForbidden,
			"the Admin API is not served under this Host name; call it as localhost or 127.0.0.1, or add the name to admin_allowed_hosts")
	}
	if err := g.cross.Check(r); err != nil {
		return rest.Refuse(http.StatusForbidden,
			"a web page of another site may not change anything here; add its origin to admin_allowed_origins if it is yours")
	}
	return nil
}

// knows reports whether the API may be called under a Host header.
func (g *Guard) knows(hostport string) bool {
	host := strings.ToLower(hostport)
	if u, err := url.Parse("//" + host); err != nil || u.Host != host || u.User != nil || u.Hostname() == "" {
		return false
	} else {
		host = strings.TrimSuffix(u.Hostname(), ".")
	}
	if host == "localhost" {
		return true
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() && ip.Zone() == "" {
		return true
	}
	return slices.Contains(g.hosts, host)
}

// Privileged reports whether the caller may have key material and exports.
func (g *Guard) Privileged(r *http.Request) bool {
	if token := given(r); token != "" {
		sum := sha256.Sum256([]byte(token))
		return g.hasKey && subtle.ConstantTimeCompare(sum[:], g.token[:]) == 1
	}
	return isLocal(r)
}

// given is the token that a request carries, right or wrong.
func given(r *http.Request) string {
	return cmp.Or(r.Header.Get("Keepgate-Admin-Token"), r.Header.Get("Kong-Admin-Token"))
}

// Local reports whether a program on this machine asks for itself.
func (g *Guard) Local(r *http.Request) bool { return isLocal(r) }

// isLocal reports whether a program on this machine asks for itself.
func isLocal(r *http.Request) bool {
	for _, name := range []string{"Origin", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via", "Sec-Fetch-Site"} {
		if len(r.Header.Values(name)) > 0 {
			return false
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// Mark adds what a browser must know: nothing, unless the page's origin is allowed.
func (g *Guard) Mark(r *http.Request, header http.Header, allow string) {
	if len(g.origins) == 0 {
		return
	}
	header.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !slices.Contains(g.origins, origin) {
		return
	}
	header.Set("Access-Control-Allow-Origin", origin)
	if allow == "" {
		return
	}
	header.Set("Access-Control-Allow-Methods", allow)
	asked := r.Header.Get("Access-Control-Request-Headers")
	if asked == "" {
		asked = "Content-Type"
	}
	header.Set("Access-Control-Allow-Headers", asked)
}
