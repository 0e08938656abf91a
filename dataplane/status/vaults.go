package status

import "time"

// Vault is how a place does that {vault://…} references lead to.
type Vault struct {
	Workspace, Name, Kind  string
	References, Unresolved int
	Failures               uint64
	LastSuccess            time.Time
	Fault                  string
}

func vaultDocuments(vaults []Vault) []map[string]any {
	list := make([]map[string]any, 0, len(vaults))
	for _, v := range vaults {
		list = append(list, map[string]any{
			"workspace": v.Workspace, "vault": v.Name, "kind": v.Kind, "references": v.References, "references_unresolved": v.Unresolved,
			"failures": v.Failures, "last_success_at": moment(v.LastSuccess), "problem": textOrNull(v.Fault),
		})
	}
	return list
}
