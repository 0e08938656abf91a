package environmentcmd

import (
	"fmt"
	"net/url"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

// nothing stands for an empty set of tags, which is easily taken for "all".
const nothing = "nothing (select_tags is empty)"

func list(admin *adminclient.Options) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "show all environments, what each selects and how many data planes it has", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := admin.Open()
			if err != nil {
				return err
			}
			all, err := read(cmd, client)
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(table, "NAME\tWORKSPACES\tSELECTS\tDATA PLANES\tVERSION\tCOMMENT")
			for _, e := range all {
				now, err := e.now(cmd, client)
				if err != nil {
					return err
				}
				version := "?"
				if now.Newest != nil {
					version = fmt.Sprint(now.Newest.Version)
				}
				fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\n", printable(e.Name), selection(e.Workspaces, "none"), selection(e.SelectTags, nothing),
					now.Total, version, printable(e.Comment))
			}
			return table.Flush()
		},
	}
}

// read reads all pages.
func read(cmd *cobra.Command, client *adminclient.Client) (all []environment, err error) {
	offset := ""
	for more := true; more; more = offset != "" {
		var page struct {
			Data   []environment
			Offset string
		}
		if err := client.Call(cmd.Context(), "GET", "/environments?size=1000&offset="+url.QueryEscape(offset), "", nil, &page); err != nil {
			return nil, err
		}
		all, offset = append(all, page.Data...), page.Offset
	}
	return all, nil
}

// now asks how the data planes of an environment stand.
func (e environment) now(cmd *cobra.Command, client *adminclient.Client) (n newest, err error) {
	return n, client.Call(cmd.Context(), "GET", "/clustering/data-planes?size=1&environment="+url.QueryEscape(e.Name), "", nil, &n)
}

func show(admin *adminclient.Options) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "show what an environment selects", Args: cobra.ExactArgs(1), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := admin.Open()
			if err != nil {
				return err
			}
			var e environment
			if err := client.Call(cmd.Context(), "GET", pathOf(args[0]), "", nil, &e); err != nil {
				return absent(err, args[0])
			}
			if err := e.tell(cmd); err != nil {
				return err
			}
			now, err := e.now(cmd, client)
			if err != nil {
				return err
			}
			if now.Newest != nil {
				fmt.Fprintf(cmd.OutOrStdout(), "newest configuration: version %d of epoch %d\n", now.Newest.Version, now.Newest.Epoch)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "data planes: %d (keepgate-cp fleet list --environment %s)\n", now.Total, printable(e.Name))
			return err
		},
	}
}

// tell writes an environment in words.
func (e environment) tell(cmd *cobra.Command) error {
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	fmt.Fprintf(table, "name\t%s\n", printable(e.Name))
	if e.Comment != "" {
		fmt.Fprintf(table, "comment\t%s\n", printable(e.Comment))
	}
	workspaces := selection(e.Workspaces, "none: its data planes serve nothing")
	if e.Workspaces == nil {
		workspaces = "all, those that are made later too"
	}
	fmt.Fprintf(table, "workspaces\t%s\n", workspaces)
	switch {
	case e.SelectTags == nil:
		fmt.Fprintln(table, "selects\teverything of its workspaces")
	case len(*e.SelectTags) == 0:
		fmt.Fprintf(table, "selects\t%s: its data planes serve nothing\n", nothing)
	default:
		fmt.Fprintf(table, "selects\tservices and routes tagged %s, and what they need\n", selection(e.SelectTags, ""))
	}
	fmt.Fprintf(table, "made\t%s\n", day(e.CreatedAt))
	fmt.Fprintf(table, "changed\t%s\n", day(e.UpdatedAt))
	return table.Flush()
}
