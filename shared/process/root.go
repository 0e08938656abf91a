package process

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/memguard"
	"github.com/keepgate/keepgate/shared/version"
)

// Root is the program's command line: the commands of a daemon, beside which its others are added.
func (p Program[S]) Root(short, long string) (*cobra.Command, error) {
	root := &cobra.Command{Use: p.Name, Short: short, Long: long, Version: version.Text, SilenceErrors: true, SilenceUsage: true}
	commands, err := p.Commands()
	root.AddCommand(commands...)
	return root, err
}

// Execute runs a command line, if it could be built, by this process's arguments. It tells stderr of an error and returns the
// process's exit status: 0, or 1 with an error, unless the error has an ExitCode of its own.
func Execute(root *cobra.Command, err error) int {
	memguard.Protect() // before settings and keys are read, which commands do too
	if err == nil {
		give(root, os.Args[1:])
		err = root.Execute()
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, told(root.Name(), err))
	if coded, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		return coded.ExitCode()
	}
	return 1
}

// told is an error as people read it, with the program's name once.
func told(program string, err error) string {
	text := fault.Text(err)
	if strings.HasPrefix(text, Place{Name: program}.subject()) {
		return text
	}
	return program + ": " + text
}
