package enrolments

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
	"github.com/keepgate/keepgate/shared/fault"
)

// revoke shuts out the data plane that is named, by the name in its certificate, by environment and name, or by the id of
// its installation.
func (a *API) revoke(r *rest.Request) (rest.Answer, error) {
	if err := r.Demand("revoking a data plane"); err != nil {
		return rest.Answer{}, err
	}
	given, err := read(r, "environment", "reason", "unseen")
	if err != nil {
		return rest.Answer{}, err
	}
	seen, err := a.deps.Fleet.List(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	known := map[string][]nodes.Certificate{}
	ids := map[string][]string{} // keys, of which there are several where an installation has joined anew
	for _, d := range seen {
		key := nodes.Key(d.Environment, d.Name)
		if !slices.Contains(ids[d.NodeID], key) {
			ids[d.NodeID] = append(ids[d.NodeID], key)
		}
		known[key] = append(known[key], nodes.Certificate{Serial: d.Serial, IssuedAt: d.CertIssuedAt, NotAfter: d.CertExpiresAt})
	}
	for _, n := range a.deps.Registry.List() {
		known[n.Key] = append(known[n.Key], n.Certificates...)
	}
	key, err := which(r.Param(0), given["environment"], ids, known, given["unseen"] == "true")
	if err != nil {
		return rest.Answer{}, err
	}
	where, name := split(key)
	d, err := a.deps.Registry.Revoke(r.Context(), where, name, given["reason"], issued(known[key])...)
	if err != nil {
		return rest.Answer{}, plainly(err)
	}
	return rest.JSON(http.StatusOK, shown(nodes.Node{Document: d, Key: key}, time.Now())), nil
}

// issued leaves out what the fleet knows of data planes that never said a certificate.
func issued(list []nodes.Certificate) []nodes.Certificate {
	return slices.DeleteFunc(list, func(c nodes.Certificate) bool { return c.Serial == "" || c.NotAfter <= 0 || c.IssuedAt < 0 })
}

// which finds the one data plane that is meant. A name that nobody bears is most likely misspelt, and revoking it would
// look as if the right one were shut out.
func which(named, environment string, ids map[string][]string, known map[string][]nodes.Certificate, unseen bool) (string, error) {
	switch keys := ids[named]; len(keys) {
	case 0:
	case 1:
		named = keys[0]
	default: // by its own word it is all of them
		return "", several("id", keys)
	}
	if at, name, both := strings.Cut(named, "/"); both {
		if environment != "" && environment != at {
			return "", rest.Refuse(http.StatusBadRequest, "%s is not in the environment %s", named, environment)
		}
		environment, named = at, name
	}
	var matches, elsewhere []string
	for _, key := range slices.Sorted(maps.Keys(known)) {
		switch at, name := split(key); {
		case name != named:
		case environment == "" || environment == at:
			matches = append(matches, key)
		default:
			elsewhere = append(elsewhere, at)
		}
	}
	switch {
	case len(matches) == 1:
		return matches[0], nil
	case len(matches) > 1:
		return "", several("name", matches)
	case environment != "" && unseen:
		return nodes.Key(environment, named), nil
	case len(elsewhere) > 0:
		return "", rest.Refuse(http.StatusNotFound, "the environment %s never had a data plane of this name, but there is one in: %s; name %s, or say environment=%s (--environment). "+
			"To shut out one of %[1]s that never linked, say unseen=true (--unseen)", environment, strings.Join(elsewhere, ", "), nodes.Key(elsewhere[0], named), elsewhere[0])
	}
	return "", rest.Refuse(http.StatusNotFound, "no data plane of this name was ever seen or certified; look at keepgate-cp fleet list. "+
		"To shut out one that never linked, say environment and unseen=true (--unseen)")
}

func several(of string, keys []string) error {
	return rest.Refuse(http.StatusBadRequest, "there are several data planes of this %s: %s; say which, as ENVIRONMENT/NAME", of, strings.Join(keys, ", "))
}

func split(key string) (environment, name string) {
	environment, name, _ = strings.Cut(key, "/")
	return environment, name
}

// plainly says a fault in its own words, where whoever asks can mend it.
func plainly(err error) error {
	status := 0
	switch kind := fault.KindOf(err); {
	case err == nil:
		return nil
	case kind == fault.Invalid:
		status = http.StatusBadRequest
	case kind == fault.NotFound:
		status = http.StatusNotFound
	case kind == fault.Conflict:
		status = http.StatusConflict
	case kind == fault.Unavailable && strings.HasPrefix(fault.SubjectOf(err), "cluster_trust"):
		status = http.StatusServiceUnavailable
	default:
		return err
	}
	return rest.Refuse(status, "%s", fault.Text(err))
}
