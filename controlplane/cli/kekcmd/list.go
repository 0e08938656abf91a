package kekcmd

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

func list(admin *adminclient.Options) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list all KEKs", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var page struct{ Data []kek }
			if err := call(cmd, admin, "GET", path, nil, &page); err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(table, "NAME\tACTIVE KEY\tAGE\tFORMER\tRETIRED\tROTATES")
			for _, k := range page.Data {
				fmt.Fprintln(table, k.line())
			}
			if err := table.Flush(); err != nil {
				return err
			}
			for _, k := range page.Data {
				k.remarks(cmd)
			}
			return nil
		},
	}
}

// line is a KEK in a table.
func (k kek) line() string {
	count, age := map[string]int{}, "-"
	for _, key := range k.Keys {
		if count[key.State]++; key.State == "active" {
			age = ageOf(key.Age)
		}
	}
	name, active, rotates := shown(k.Name), shown(k.KeyID), "by hand"
	if k.RotateEvery > 0 {
		rotates = "every " + ageOf(k.RotateEvery)
	}
	if name == "" {
		name = "(sealed)"
	}
	if active == "" {
		active = "-"
	}
	return fmt.Sprintf("%s\t%s\t%s\t%d\t%d\t%s", name, active, age, count["former"], count["retired"], rotates)
}

func (k kek) remarks(cmd *cobra.Command) {
	for _, warning := range k.Warnings {
		say(cmd, "%s: %s", shown(k.Name), shown(warning))
	}
	if k.Problem != "" {
		say(cmd, "%s: it does not open: %s", shown(k.Name), shown(k.Problem))
	}
}

func show(admin *adminclient.Options) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "show a KEK's keys, with the hashes that API servers show", Args: cobra.ExactArgs(1), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			var k kek
			if err := call(cmd, admin, "GET", at(args[0]), nil, &k); err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(table, "KEY\tSTATE\tMADE\tAGE\tHASH AT API SERVERS")
			for _, key := range k.Keys {
				made := time.Unix(key.CreatedAt, 0).UTC().Format(time.RFC3339)
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", shown(key.KeyID), shown(key.State), made, ageOf(key.Age), hashOf(key.KeyID))
			}
			if err := table.Flush(); err != nil {
				return err
			}
			if k.RotatesAt > 0 {
				say(cmd, "rotates by itself every %s, next at %s", ageOf(k.RotateEvery), time.Unix(k.RotatesAt, 0).UTC().Format(time.RFC3339))
			}
			k.remarks(cmd)
			return nil
		},
	}
}
