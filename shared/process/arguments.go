package process

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/shared/settings"
)

// give gives a command line its arguments. "--flag off" becomes "--flag=off" where the flag is a setting that is on or off: such a flag
// may go without a value, so that cobra would leave off as an argument.
func give(root *cobra.Command, arguments []string) {
	tellArguments(root, arguments)
	root.SetFlagErrorFunc(tellFlag)
	command, _, err := root.Find(arguments)
	if err != nil {
		root.SetArgs(arguments)
		return
	}
	var joined []string
	for i := 0; i < len(arguments); i++ {
		one := arguments[i]
		if one == "--" {
			joined = append(joined, arguments[i:]...)
			break
		}
		if i+1 < len(arguments) && slices.Contains(words, arguments[i+1]) && alone(command, one) == settings.On {
			i++
			one += "=" + arguments[i]
		}
		joined = append(joined, one)
	}
	root.SetArgs(joined)
}

// words are what such a setting can be given; "" is as good as no flag.
var words = []string{"on", "off", "true", "false", ""}

// alone is what an argument stands for that is a flag which may go without a value.
func alone(command *cobra.Command, argument string) string {
	name, long := strings.CutPrefix(argument, "--")
	if flag := command.Flags().Lookup(name); long && flag != nil {
		return flag.NoOptDefVal
	}
	return ""
}

// tellArguments has commands that take no arguments say so, which cobra would call unknown commands. What they were given is not told:
// it may be a token.
func tellArguments(command *cobra.Command, all []string) {
	for _, below := range command.Commands() {
		tellArguments(below, all)
	}
	asked := command.Args
	if command.HasSubCommands() || asked == nil {
		return
	}
	command.Args = func(command *cobra.Command, given []string) error {
		err := asked(command, given)
		if err == nil || len(given) == 0 || asked(command, nil) != nil || asked(command, given[:1]) == nil {
			return err
		}
		path := strings.TrimPrefix(command.CommandPath(), command.Root().Name()+" ")
		return fmt.Errorf("%s takes no arguments, but was given %d beside its flags%s", path, len(given), remedy(command, all))
	}
}

// tellFlag says of a flag that stands before its command where it belongs: cobra looks for it above, the command having been its value.
func tellFlag(command *cobra.Command, err error) error {
	unknown, ok := errors.AsType[interface {
		error
		GetSpecifiedName() string
	}](err)
	if !ok {
		return err
	}
	name := unknown.GetSpecifiedName()
	if !slices.ContainsFunc(command.Commands(), func(below *cobra.Command) bool { return below.Flags().Lookup(name) != nil }) {
		return err
	}
	return fmt.Errorf("%w; flags stand behind the command: %s COMMAND --%s", err, command.CommandPath(), name)
}

// remedy is what to do where an argument may have been meant as the value of a flag that takes none apart.
func remedy(command *cobra.Command, all []string) string {
	for i, one := range all[:len(all)-1] {
		if alone(command, one) != "" && !strings.HasPrefix(all[i+1], "-") {
			return fmt.Sprintf("; if one is the value of %s, write %[1]s=…", one)
		}
	}
	return ""
}
