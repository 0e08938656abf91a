package auditcmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/proof"
)

// asked is what the flags of verify ask for.
type asked struct {
	admin   *adminclient.Options
	urls    []string
	files   []string
	ca, crl string
	json    bool
}

func verify(admin *adminclient.Options) *cobra.Command {
	a := asked{admin: admin}
	cmd := &cobra.Command{
		Use: "verify", Short: "find entries that were edited, removed, moved or put between", Args: cobra.NoArgs, SilenceUsage: true,
		Long: "Reads every chain of the journal, and the heads that the asked nodes hold, and holds one against the other.\n" +
			"Ask several nodes (--admin, repeated): each keeps heads of its own, and one that was taken over cannot\n" +
			"speak for the others. With --ca the signatures of the heads are checked too.\n\n" +
			"Exits with 1 when anything is found. Lines that begin with \"note\" are worth knowing and no finding.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&a.urls, "admin", nil, "the Admin API of a node (repeat it for several); default: --admin-url")
	flags.StringArrayVar(&a.files, "heads", nil, "a copy of a node's audit_heads_path, held against the journal too")
	flags.StringVar(&a.ca, "ca", "", "the CA of the nodes' certificates (peer_ca_cert, or cluster_ca_cert): checks who signed the heads")
	flags.StringVar(&a.crl, "crl", "", "the CRL of that CA")
	flags.BoolVar(&a.json, "json", false, "print one JSON object")
	return cmd
}

// result is what verify prints.
type result struct {
	Cluster  string          `json:"cluster"`
	Chains   []chainResult   `json:"chains"`
	Findings []audit.Finding `json:"findings"`
	Notes    []audit.Finding `json:"notes"`
}

type chainResult struct {
	Node    string `json:"node"`
	Entries int    `json:"entries"`
	Heads   int    `json:"heads"`
}

func (a asked) run(cmd *cobra.Command) error {
	var witness *proof.Witness
	if a.ca != "" {
		var err error
		if witness, err = mtls.OpenWitness(a.ca, a.crl); err != nil {
			return err
		}
	} else if a.crl != "" {
		return errors.New("--crl needs --ca")
	}
	e, err := a.gather(cmd.Context())
	if err != nil {
		return err
	}
	r := &result{Cluster: e.cluster, Findings: []audit.Finding{}, Notes: []audit.Finding{}}
	r.add(e.prove(witness)...)
	r.add(e.strangers()...)
	for _, node := range e.nodes() {
		count := 0
		found, err := audit.Verify(e.cluster, node, e.chain(cmd.Context(), node, &count), e.held)
		if err != nil {
			return err
		}
		r.add(found...)
		r.Chains = append(r.Chains, chainResult{node, count, e.headsOf(node)})
	}
	if err := r.print(cmd, a.json, witness != nil); err != nil {
		return err
	}
	switch {
	case len(r.Findings) == 0:
	case witness != nil && !slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.Kind != audit.Unverified }):
		return fmt.Errorf("%s not proved; after a change of CA give both in the file of --ca", counted(len(r.Findings), "head is", "heads are"))
	default:
		return fmt.Errorf("the journal is not as it was written: %s", counted(len(r.Findings), "finding", "findings"))
	}
	return nil
}

func (r *result) add(found ...audit.Finding) {
	for _, f := range found {
		if f.Note() {
			r.Notes = append(r.Notes, f)
			continue
		}
		r.Findings = append(r.Findings, f)
	}
}

func (r *result) print(cmd *cobra.Command, asJSON, proved bool) error {
	if asJSON {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		say(cmd, "%s", text)
		return nil
	}
	for _, c := range r.Chains {
		say(cmd, "node %s: %s, held against %s", harmless(c.Node), counted(c.Entries, "entry", "entries"), counted(c.Heads, "head", "heads"))
	}
	for _, f := range r.Findings {
		say(cmd, "%s  node %s: %s", f.Kind, harmless(f.Node), harmless(f.Text))
	}
	for _, f := range r.Notes {
		say(cmd, "note  node %s: %s", harmless(f.Node), harmless(f.Text))
	}
	if !proved {
		say(cmd, "note  who signed the heads was not checked; give --ca")
	}
	if len(r.Findings) == 0 {
		say(cmd, "nothing found in %s", counted(len(r.Chains), "chain", "chains"))
	}
	return nil
}

// counted writes a number with its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// sorted returns texts in order, each once.
func sorted(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}
