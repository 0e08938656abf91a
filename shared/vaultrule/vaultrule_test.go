package vaultrule_test

import (
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/shared/vaultrule"
)

func TestFaults(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		vault vaultrule.Vault
		want  []string // fields
	}{
		"variables":               {vaultrule.Vault{Kind: "env", Prefix: "team-A_1"}, nil},
		"no variables":            {vaultrule.Vault{Kind: "env", Prefix: "a.b"}, []string{"prefix"}},
		"all variables":           {vaultrule.Vault{Kind: "env"}, nil},
		"a folder":                {vaultrule.Vault{Kind: "file", Prefix: "/a/b/"}, nil},
		"all files":               {vaultrule.Vault{Kind: "file", Prefix: "/"}, nil},
		"a folder above":          {vaultrule.Vault{Kind: "file", Prefix: "a/../.."}, []string{"prefix"}},
		"a NUL":                   {vaultrule.Vault{Kind: "file", Prefix: "a\x00"}, []string{"prefix"}},
		"the node's server":       {vaultrule.Vault{Kind: "hcv", Mount: "/secret/team/", Space: "/team/"}, nil},
		"half an address":         {vaultrule.Vault{Kind: "hcv", Port: true}, []string{"host"}},
		"half an address, clear":  {vaultrule.Vault{Kind: "hcv", Protocol: "http"}, []string{"host"}},
		"in clear":                {vaultrule.Vault{Kind: "hcv", Protocol: "http", Host: "10.0.0.1"}, []string{"protocol"}},
		"in clear to itself":      {vaultrule.Vault{Kind: "hcv", Protocol: "http", Host: "127.0.0.1", Port: true}, nil},
		"all at once":             {vaultrule.Vault{Kind: "hcv", Mount: "..", Space: "ä", AuthPath: "a\n", Token: "{kvm://m/k}"}, []string{"mount", "namespace", "kube_auth_path", "token"}},
		"a token":                 {vaultrule.Vault{Kind: "hcv", Token: "hvs.x"}, nil},
		"a token with a line":     {vaultrule.Vault{Kind: "hcv", Token: " hvs.x\n"}, nil},
		"two tokens":              {vaultrule.Vault{Kind: "hcv", Token: "hvs.x\nhvs.y"}, []string{"token"}},
		"a blank for a token":     {vaultrule.Vault{Kind: "hcv", Token: " "}, []string{"token"}},
		"a token in a file":       {vaultrule.Vault{Kind: "hcv", Token: "{vault://mine/token}"}, nil},
		"a token in a vault":      {vaultrule.Vault{Kind: "hcv", Token: "{vault://hcv/a/token}"}, []string{"token"}},
		"a token that is half":    {vaultrule.Vault{Kind: "hcv", Token: "{vault://mine"}, []string{"token"}},
		"what the kind has not":   {vaultrule.Vault{Kind: "env", Mount: ".."}, nil}, // refused as unknown
		"a kind that nobody has":  {vaultrule.Vault{Kind: "aws", Prefix: ".."}, nil},
		"a namespace without end": {vaultrule.Vault{Kind: "hcv", Space: strings.Repeat("a", 5000)}, []string{"namespace"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, one := range vaultrule.Faults(test.vault) {
				got = append(got, one.Field)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is a node's own is for the default workspace alone; what a vault brings along is for any.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		vault vaultrule.Vault
		want  []vaultrule.Fault
	}{
		"variables":              {vaultrule.Vault{Kind: "env"}, []vaultrule.Fault{{Message: "variables of this node can be referred to in the workspace default alone"}}},
		"files":                  {vaultrule.Vault{Kind: "file"}, nil},
		"a token":                {vaultrule.Vault{Kind: "hcv", Token: "hvs.x"}, nil},
		"no token":               {vaultrule.Vault{Kind: "hcv"}, []vaultrule.Fault{{Field: "token", Message: "it has none of its own, and a node logs in for the workspace default alone"}}},
		"a service account":      {vaultrule.Vault{Kind: "hcv", Token: "hvs.x", Kubernetes: true}, []vaultrule.Fault{{Field: "token", Message: "it has none of its own, and a node logs in for the workspace default alone"}}},
		"a token of a vault":     {vaultrule.Vault{Kind: "hcv", Token: "{vault://mine/token}"}, nil},
		"a token in variables":   {vaultrule.Vault{Kind: "hcv", Token: "{vault://env/token}"}, []vaultrule.Fault{{Field: "token", Message: "a reference to a vault of the node's own, which can be referred to in the workspace default alone"}}},
		"a token in node's file": {vaultrule.Vault{Kind: "hcv", Token: "{vault://file/token}"}, []vaultrule.Fault{{Field: "token", Message: "a reference to a vault of the node's own, which can be referred to in the workspace default alone"}}},
	} {
		if diff := cmp.Diff(test.want, vaultrule.Elsewhere(test.vault)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// What is taken for a folder leads nowhere else.
func FuzzPrefix(f *testing.F) {
	for _, prefix := range []string{"a/b", "/a/", "..", "a/../..", ".", "a//b", "a\x00b"} {
		f.Add(prefix)
	}
	f.Fuzz(func(t *testing.T, prefix string) {
		trimmed := strings.Trim(prefix, "/")
		if len(vaultrule.Faults(vaultrule.Vault{Kind: "file", Prefix: prefix})) == 0 && trimmed != "" && path.Clean("/"+trimmed) != "/"+trimmed {
			t.Errorf("%q is taken for a folder", prefix)
		}
	})
}
