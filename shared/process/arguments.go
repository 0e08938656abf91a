package process

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/keepgate/keepgate/shared/settings"
)

// give gives a command line its arguments. "--flag off" becomes "--flag=off" where the flag is a setting that is on or off: such a flag
// may go without a value, so that cobra would leave off as an argument.
func give(root *cobra.Command, arguments []string) {
	tellArguments(root)
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
		if name, long := strings.CutPrefix(one, "--"); long && i+1 < len(arguments) && slices.Contains(words, arguments[i+1]) && isSwitch(command.Flags().Lookup(name)) {
			i++
			one += "=" + arguments[i]
		}
		joined = append(joined, one)
	}
	root.SetArgs(joined)
}

// words are what such a setting can be given; "" is as good as no flag.
var words = []string{"on", "off", "true", "false", ""}

// isSwitch knows the flag of a setting that is on or off.
func isSwitch(flag *pflag.Flag) bool { return flag != nil && flag.NoOptDefVal == settings.On }

// tellArguments has commands that take no arguments say so, which cobra would call unknown commands. What they were given is not told:
// it may be a token.
func tellArguments(command *cobra.Command) {
	for _, below := range command.Commands() {
		tellArguments(below)
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
		return fmt.Errorf("%s takes no arguments, but was given %d beside its flags%s", path, len(given), remedy(command))
	}
}

// remedy is what to do where the argument may have been meant as the value of a flag that takes none apart.
func remedy(command *cobra.Command) (text string) {
	command.Flags().Visit(func(flag *pflag.Flag) {
		if text == "" && flag.NoOptDefVal != "" && flag.Value.String() == flag.NoOptDefVal {
			text = fmt.Sprintf("; if one is the value of --%s, write --%[1]s=…", flag.Name)
		}
	})
	return text
}
