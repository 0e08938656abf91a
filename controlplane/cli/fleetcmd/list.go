package fleetcmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

const listLong = `Shows every data plane that was seen within cluster_data_plane_purge_delay, by environment and name.

  LINK     linked, away (nothing was heard for a minute, or its link was cut), revoked, or replaced (its name is
           another's, which was installed anew)
  STATUS   normal: it holds the newest that it was sent; unknown: it has not answered yet; refused: it goes on with what it had;
           ahead: it holds more than the database ever gave out; others: it cannot keep up with this control plane
  HOLDS    the version of its environment's configuration
  BEHIND   how many versions are newer, and since when

  keepgate-cp fleet list --environment prod --status away
  keepgate-cp fleet list --label region:eu -o json`

// filters are the flags that select data planes.
type filters struct {
	environment, status string
	labels              []string
}

func (f filters) query() url.Values {
	query := url.Values{}
	if f.environment != "" {
		query.Set("environment", f.environment)
	}
	if f.status != "" {
		query.Set("status", f.status)
	}
	for _, label := range f.labels {
		query.Add("label", label)
	}
	return query
}

func listCommand(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "show which data plane holds what", Long: listLong, Args: cobra.NoArgs, SilenceUsage: true}
	var f filters
	var form string
	cmd.Flags().StringVar(&f.environment, "environment", "", "only data planes of this environment")
	cmd.Flags().StringArrayVar(&f.labels, "label", nil, "only data planes with this label, as region:eu; may be given several times")
	cmd.Flags().StringVar(&f.status, "status", "", "only data planes of this status, or linked, away, revoked, replaced, quarantined")
	cmd.Flags().StringVarP(&form, "output", "o", "table", "table or json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := admin.Open()
		if err != nil {
			return err
		}
		switch form {
		case "table":
			return listTable(cmd, client, f)
		case "json":
			return listJSON(cmd, client, f)
		}
		return fmt.Errorf("-o %q is neither table nor json", form)
	}
	return cmd
}

func listJSON(cmd *cobra.Command, client *adminclient.Client, f filters) error {
	all := []json.RawMessage{}
	err := each(cmd.Context(), client, f.query(), func(p page, _ []plane) error {
		all = append(all, p.Data...)
		return nil
	})
	if err != nil {
		return err
	}
	out := json.NewEncoder(cmd.OutOrStdout())
	out.SetIndent("", "  ")
	return out.Encode(all)
}

func listTable(cmd *cobra.Command, client *adminclient.Client, f filters) error {
	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tENVIRONMENT\tHOST\tPROGRAM\tLINK\tSTATUS\tHOLDS\tBEHIND\tCERTIFICATE ENDS\tLAST SEEN")
	newest, all := map[string]position{}, []plane{}
	err := each(cmd.Context(), client, f.query(), func(p page, planes []plane) error {
		maps.Copy(newest, p.Environments)
		all = append(all, planes...)
		for _, d := range planes {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", printable(d.Name), printable(d.Environment), printable(d.Hostname),
				printable(d.Version), d.link(), d.SyncStatus, d.ConfigVersion, d.behind(), until(d.Certificate.Expires), ago(d.LastSeen))
		}
		return nil
	})
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if len(all) == 0 {
		return f.nobody(cmd, client)
	}
	_ = table.Flush()                                                            // into memory
	for i, line := range strings.Split(strings.TrimSpace(text.String()), "\n") { // the heading, then one for each
		fmt.Fprintln(out, line)
		if i == 0 {
			continue
		}
		for _, problem := range all[i-1].problems() {
			fmt.Fprintln(out, " ", problem)
		}
	}
	for _, environment := range slices.Sorted(maps.Keys(newest)) {
		p := newest[environment]
		fmt.Fprintf(out, "newest configuration of %s: version %d of epoch %d\n", printable(environment), p.Version, p.Epoch)
	}
	return nil
}

// nobody says what it means that no data plane was found.
func (f filters) nobody(cmd *cobra.Command, client *adminclient.Client) error {
	text := "no data plane is known of that kind"
	if len(f.query()) == 0 {
		text = "no data plane is known yet; to let one join: keepgate-cp fleet invite"
	}
	if f.environment != "" {
		if err := known(cmd.Context(), client, f.environment); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
	return err
}

// problems are what an operator should look at.
func (d plane) problems() (lines []string) {
	if d.Revoked {
		lines = append(lines, "revoked "+ago(d.RevokedAt)+reasoned(d.Reason))
	}
	if d.Refusal != "" {
		lines = append(lines, "refused: "+printable(d.Refusal))
	}
	if d.Kept.Entries > 0 {
		lines = append(lines, fmt.Sprintf("%d entities do not open at the control plane: keeps the last form of %d, never held %d",
			d.Kept.Entries, d.Kept.Entries-d.Kept.Lacking, d.Kept.Lacking))
	}
	for _, q := range d.Quarantined {
		lines = append(lines, fmt.Sprintf("quarantined %s/%s %s: %s", printable(q.Kind), printable(q.ID), printable(q.Name), printable(q.Reason)))
	}
	return lines
}

func reasoned(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + printable(reason)
}
