package secretbackend

import "strings"

// Listed says whether a host is one of a list, as vault.example and *.vault.example.
func Listed(list []string, host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, one := range list {
		one = strings.ToLower(strings.TrimSuffix(one, "."))
		if below, wild := strings.CutPrefix(one, "*"); wild && strings.HasPrefix(below, ".") && strings.HasSuffix(host, below) && len(host) > len(below) || one == host {
			return true
		}
	}
	return false
}
