package environmentcmd

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

const holdsLong = `Shows which entities the data planes of an environment are given, and why each: as its own, or what needs it. What is not shown
never reaches them.

  keepgate-cp environments holds prod --kind consumers`

// holding is GET /environments/{name}/holds.
type holding struct {
	Counts map[string]int
	Data   []struct{ Kind, ID, Name, Why string }
	Offset string
}

func holds(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{Use: "holds NAME", Short: "show what an environment holds, and why", Long: holdsLong, Args: cobra.ExactArgs(1), SilenceUsage: true}
	kind := cmd.Flags().String("kind", "", "only entities of this kind, as consumers")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := admin.Open()
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
		fmt.Fprintln(table, "KIND\tNAME\tID\tWHY")
		query := url.Values{"size": {"1000"}}
		if *kind != "" {
			query.Set("kind", *kind)
		}
		var page holding
		for more := true; more; more = page.Offset != "" {
			page = holding{}
			if err := client.Call(cmd.Context(), "GET", pathOf(args[0])+"/holds?"+query.Encode(), "", nil, &page); err != nil {
				return absent(err, args[0])
			}
			for _, one := range page.Data {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", printable(one.Kind), printable(one.Name), printable(one.ID), printable(one.Why))
			}
			query.Set("offset", page.Offset)
		}
		if err := table.Flush(); err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "in all: "+page.sum())
		return err
	}
	return cmd
}

// sum counts what there is by kind.
func (h holding) sum() string {
	if len(h.Counts) == 0 {
		return "nothing"
	}
	var words []string
	for _, kind := range slices.Sorted(maps.Keys(h.Counts)) {
		words = append(words, fmt.Sprintf("%d %s", h.Counts[kind], printable(kind)))
	}
	return strings.Join(words, ", ")
}
