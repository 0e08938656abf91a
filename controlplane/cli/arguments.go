package cli

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// nameArguments has every command that takes arguments say which one is missing, in place of how many there are.
func nameArguments(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		nameArguments(sub)
	}
	names, count := argumentsOf(cmd), cmd.Args
	if len(names) == 0 || count == nil {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		err := count(cmd, args)
		switch {
		case err == nil:
			return nil
		case len(args) < len(names):
			return fmt.Errorf("%s is missing; write: %s", names[len(args)], strings.TrimSuffix(cmd.UseLine(), " [flags]"))
		}
		return fmt.Errorf("%q is too much; write: %s", args[len(names)], strings.TrimSuffix(cmd.UseLine(), " [flags]"))
	}
}

// argumentsOf are the arguments that a command must have, as its usage line names them.
func argumentsOf(cmd *cobra.Command) (names []string) {
	for _, word := range strings.Fields(cmd.Use)[1:] {
		if !unicode.IsUpper(rune(word[0])) {
			return names
		}
		names = append(names, word)
	}
	return names
}
