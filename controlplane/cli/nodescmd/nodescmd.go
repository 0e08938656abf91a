// Package nodescmd is `keepgate-cp nodes`: the nodes of the control plane itself, over the Admin API.
package nodescmd

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

// Command returns the `nodes` command.
func Command() *cobra.Command {
	admin := &adminclient.Options{}
	cmd := &cobra.Command{
		Use: "nodes", Short: "The control plane's nodes: which live, what each holds of the keyring, whether they hear each other", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := admin.Open()
			if err != nil {
				return err
			}
			var p page
			if err := client.Call(cmd.Context(), "GET", "/clustering/control-planes", "", nil, &p); err != nil {
				return err
			}
			return p.print(tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0))
		},
	}
	admin.Flags(cmd)
	return cmd
}

// page is GET /clustering/control-planes.
type page struct {
	Data []struct {
		ID, Name, Hostname, Version, Refused string
		Self, Live                           bool
		Age                                  float64 `json:"lease_age"`
		Keyring                              struct {
			Strategy string
			Holds    []string
			Joined   bool
		}
		HeardAt *int64 `json:"heard_at"`
	}
	NATS *struct {
		Embedded, Connected bool
		Server, Problem     string
		Routes              int
		Refused             map[string]uint64
	}
}

func (p page) print(table *tabwriter.Writer) error {
	fmt.Fprintln(table, "NAME\tHOST\tPROGRAM\tSTATE\tLEASE\tHEARD\tKEYRING\tHOLDS")
	for _, n := range p.Data {
		state := "away"
		if n.Live {
			state = "live"
		}
		heard := "never"
		switch {
		case n.Self:
			state, heard = state+", this one", "-"
		case n.HeardAt != nil:
			heard = time.Since(time.Unix(*n.HeardAt, 0)).Round(time.Second).String() + " ago"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%.0fs old\t%s\t%s\t%s\n",
			shown(n.Name), shown(n.Hostname), shown(n.Version), state, n.Age, heard, shown(n.Keyring.Strategy), shown(strings.Join(n.Keyring.Holds, " ")))
		if n.Refused != "" {
			fmt.Fprintf(table, "  %s: its lease is not believed: %s\n", shown(n.ID), shown(n.Refused))
		}
	}
	if p.NATS == nil {
		return table.Flush()
	}
	switch {
	case !p.NATS.Connected:
		fmt.Fprintf(table, "NATS: not connected: %s\n", p.NATS.Problem)
	case p.NATS.Embedded:
		fmt.Fprintf(table, "NATS: embedded, %d links to other nodes\n", p.NATS.Routes)
	default:
		fmt.Fprintf(table, "NATS: %s\n", p.NATS.Server)
	}
	for _, reason := range slices.Sorted(maps.Keys(p.NATS.Refused)) {
		fmt.Fprintf(table, "refused messages, %s: %d\n", reason, p.NATS.Refused[reason])
	}
	return table.Flush()
}

// shown is a text without what a terminal or the table would take for a command: anybody who writes the database
// could have written a lease.
func shown(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
