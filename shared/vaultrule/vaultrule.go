// Package vaultrule says what is wrong with a vault as a configuration describes it, as far as that can be told without knowing the
// node that will ask it: the control plane refuses it by this, and gates keep to the same. Nothing is asked here.
package vaultrule

import (
	"bytes"
	"net"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/shared/secretref"
)

// Vault is what a configuration says of a vault. What is "" or false it leaves to the node.
type Vault struct {
	Kind                   string // env, file or hcv
	Prefix                 string
	Protocol, Host         string
	Port                   bool // one is given
	Mount, AuthPath, Space string
	Token                  string // or a reference to one
	Kubernetes             bool   // it logs in by the node's Kubernetes
}

// Fault is a member of the configuration and what is wrong with it. It repeats no value that may be secret.
type Fault struct{ Field, Message string }

// Faults says all that is wrong.
func Faults(v Vault) (faults []Fault) {
	check := func(field, message string) {
		if message != "" {
			faults = append(faults, Fault{field, message})
		}
	}
	switch v.Kind {
	case "env":
		check("prefix", variables(v.Prefix))
	case "file":
		check("prefix", folder(v.Prefix))
	case "hcv":
		check("host", host(v))
		check("protocol", protocol(v))
		check("mount", given(v.Mount, Path))
		check("namespace", given(v.Space, Namespace))
		check("kube_auth_path", given(v.AuthPath, Path))
		check("token", token(v.Token))
	}
	return faults
}

// Elsewhere says what is wrong with a vault in another workspace than the default one, which is that of those who run the gates: what is a
// node's own, its variables and its logins, is for that one alone.
func Elsewhere(v Vault) (faults []Fault) {
	switch {
	case v.Kind == "env":
		faults = append(faults, Fault{"", "variables of this node can be referred to in the workspace default alone"})
	case v.Kind == "hcv" && (v.Token == "" || v.Kubernetes):
		faults = append(faults, Fault{"token", "it has none of its own, and a node logs in for the workspace default alone"})
	case v.Kind == "hcv" && nodes(v.Token):
		faults = append(faults, Fault{"token", "a reference to a vault of the node's own, which can be referred to in the workspace default alone"})
	}
	return faults
}

// nodes says whether a text refers to a vault that every node has.
func nodes(text string) bool {
	r, err := secretref.Parse(text)
	return secretref.Meant(text) && err == nil && r.Scheme == secretref.Vault && (r.Place == "env" || r.Place == "file" || r.Place == "hcv")
}

func given(text string, check func(string) string) string {
	if text == "" {
		return ""
	}
	return check(text)
}

// variables checks how names of variables begin.
func variables(prefix string) string {
	if strings.ContainsFunc(prefix, func(c rune) bool {
		return c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}) {
		return "no beginning of a variable's name: letters, digits, '_' and '-' are"
	}
	return ""
}

// folder checks the way to a folder below another. Slashes around it do not count.
func folder(prefix string) string {
	if prefix = strings.Trim(prefix, "/"); prefix != "" && !names(prefix) {
		return "no folder: write it as team/prod, without '.', '..' and empty names"
	}
	return ""
}

// names says whether all that slashes part is a name.
func names(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return false
		}
	}
	return true
}

// host: a port or a protocol is of a server. Those of one that the configuration does not name are the node's to say.
func host(v Vault) string {
	if v.Host == "" && (v.Port || v.Protocol != "") {
		return "required where port or protocol is set: both are the node's as its host is"
	}
	return ""
}

func protocol(v Vault) string {
	if v.Protocol == "http" && v.Host != "" && !Here(v.Host) {
		return "http would send the token and the secrets over the network in clear: it is for a host that is the node itself"
	}
	return ""
}

// Here says whether a host is the machine that asks: what is said to it in clear stays there.
func Here(host string) bool {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Path says what is wrong with a mount or a path in Vault. Slashes around it do not count.
func Path(path string) string {
	if !names(strings.Trim(path, "/")) {
		return strconv.Quote(path) + " is no mount or path of Vault: write it as team/keys"
	}
	return ""
}

// maxNamespace is what a header may well hold.
const maxNamespace = 4096

// Namespace says what is wrong with a namespace of Vault. It travels in a header.
func Namespace(name string) string {
	name = strings.Trim(name, "/")
	if !names(name) || len(name) > maxNamespace || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "no namespace: write it as team/project"
	}
	return ""
}

// maxToken is what a header may well hold.
const maxToken = 16 << 10

// IsToken says whether Vault may have made a token: what would break a header is none.
func IsToken(data []byte) bool {
	return len(data) > 0 && len(data) <= maxToken && !bytes.ContainsFunc(data, func(r rune) bool { return r <= ' ' || r > '~' })
}

// token checks what logs in: text that is no reference is the token itself. Blanks around it do not count.
func token(text string) string {
	if !secretref.Meant(text) {
		if text != "" && !IsToken(bytes.TrimSpace([]byte(text))) {
			return "no token: it is empty, too long, or has signs that no token has"
		}
		return ""
	}
	switch r, err := secretref.Parse(text); {
	case err != nil:
		return err.Error()
	case r.Scheme != secretref.Vault:
		return "a reference to a map, and may be one to a variable or a file alone"
	case r.Place == "hcv":
		return "a reference to a vault that takes a token itself, and may be one to a variable or a file alone"
	}
	return ""
}
