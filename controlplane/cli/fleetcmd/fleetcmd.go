// Package fleetcmd is `keepgate-cp fleet`: the data planes as the control plane sees them, over the Admin API.
package fleetcmd

import (
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

// Command returns the `fleet` command with its subcommands.
func Command() *cobra.Command {
	root := &cobra.Command{
		Use: "fleet", Short: "The data planes: list, accept-restore", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin := &adminclient.Options{}
	admin.Flags(root)
	root.AddCommand(listCommand(admin), acceptCommand(admin))
	return root
}

// page is GET /clustering/data-planes.
type page struct {
	Data []struct {
		ID, Name, Hostname, Environment, Version, Refusal string
		SyncStatus                                        string `json:"sync_status"`
		Epoch                                             uint64 `json:"config_epoch"`
		ConfigVersion                                     uint64 `json:"config_version"`
		LastSeen                                          int64  `json:"last_seen"`
		Away                                              bool
		Quarantined                                       []struct{ Kind, ID, Name, Reason string }
		Kept                                              struct{ Entries, Lacking int }
	}
	Offset string
	Newest struct{ Epoch, Version uint64 }
}

func listCommand(admin *adminclient.Options) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "show which data plane holds what", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := admin.Open()
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(table, "NAME\tENVIRONMENT\tHOST\tPROGRAM\tLINK\tSTATUS\tHOLDS\tLAST SEEN")
			var p page
			for more := true; more; more = p.Offset != "" {
				path := "/clustering/data-planes?size=1000&offset=" + p.Offset
				p = page{}
				if err := client.Call(cmd.Context(), "GET", path, "", nil, &p); err != nil {
					return err
				}
				p.print(table)
			}
			if p.Newest.Version > 0 {
				fmt.Fprintf(table, "newest configuration: version %d of epoch %d\n", p.Newest.Version, p.Newest.Epoch)
			}
			return table.Flush()
		},
	}
}

func (p page) print(table *tabwriter.Writer) {
	for _, d := range p.Data {
		link := "linked"
		if d.Away { // what is said of it is what was true then
			link = "away"
		}
		seen := time.Since(time.Unix(d.LastSeen, 0)).Round(time.Second)
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s ago\n",
			d.Name, d.Environment, d.Hostname, d.Version, link, d.SyncStatus, strconv.FormatUint(d.ConfigVersion, 10), seen)
		if d.Refusal != "" {
			fmt.Fprintf(table, "  refused: %s\n", d.Refusal)
		}
		if d.Kept.Entries > 0 {
			fmt.Fprintf(table, "  %d entities do not open at the control plane: keeps the last form of %d, never held %d\n",
				d.Kept.Entries, d.Kept.Entries-d.Kept.Lacking, d.Kept.Lacking)
		}
		for _, q := range d.Quarantined {
			fmt.Fprintf(table, "  quarantined %s/%s %s: %s\n", q.Kind, q.ID, q.Name, q.Reason)
		}
	}
}

func acceptCommand(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "accept-restore", Short: "let data planes take a restored database's older configuration", Args: cobra.NoArgs, SilenceUsage: true,
		Long: "A data plane never goes back to an older configuration by itself. After the database was restored from a\n" +
			"backup, data planes hold more than it does and are shown as \"ahead\". This raises the epoch, so that all of\n" +
			"them take what the database holds now, and lose what was changed after the backup.",
	}
	sure := cmd.Flags().Bool("yes", false, "this is meant")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !*sure {
			return fmt.Errorf("every data plane would take this database's configuration; say --yes if that is meant")
		}
		client, err := admin.Open()
		if err != nil {
			return err
		}
		var answer struct {
			Epoch   uint64
			Message string
		}
		if err := client.Call(cmd.Context(), "POST", "/clustering/accept-restore", "", nil, &answer); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "epoch %d: %s\n", answer.Epoch, answer.Message)
		return err
	}
	return cmd
}
