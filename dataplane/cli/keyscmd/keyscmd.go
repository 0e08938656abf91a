// Package keyscmd is `keepgate-dp keys`: it makes scoped keys, and says which key seals what on this node.
package keyscmd

import (
	"github.com/spf13/cobra"
)

// Command returns the `keys` command with its subcommands.
func Command() (*cobra.Command, error) {
	root := &cobra.Command{
		Use:   "keys",
		Short: "The keys that this node's disk is sealed by",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	generate, err := generateCommand()
	if err != nil {
		return nil, err
	}
	explain, err := explainCommand()
	if err != nil {
		return nil, err
	}
	root.AddCommand(generate, explain)
	return root, nil
}
