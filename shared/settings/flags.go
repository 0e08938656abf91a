package settings

import (
	"context"
	"os"

	"github.com/spf13/cobra"
)

// On is what the flag of a setting that is on or off stands for when it has no value, as --keyring-enabled.
const On = "on"

// Flags are the command-line flags of a settings struct: -c and -p, and one flag for every setting, as
// --pg-host for pg_host. There is none for a secret, since every user of a machine can read the arguments
// of its processes; there is one for the secret's file.
type Flags struct {
	command *cobra.Command
	into    any
	file    string
	given   map[string]*string // by key
}

// Bind gives a command the flags of a settings struct. The many are hidden from --help, where [Help] tells
// them by section.
func Bind(command *cobra.Command, into any) (*Flags, error) {
	fields, err := fieldsOf(into)
	if err != nil {
		return nil, err
	}
	f := &Flags{command: command, into: into, given: map[string]*string{}}
	set := command.Flags()
	set.StringVarP(&f.file, "conf", "c", "", "settings file, keepgate.conf or kong.conf")
	for _, one := range fields {
		key := one.key
		if one.kind == kindSecret {
			key = one.fileKey()
		}
		short := ""
		if key == "prefix" {
			short = "p"
		}
		f.given[key] = set.StringP(flagName(key), short, "", one.help)
		if one.kind == kindBoolean {
			set.Lookup(flagName(key)).NoOptDefVal = On
		}
		if key != "prefix" && key != "log_level" {
			if err := set.MarkHidden(flagName(key)); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// Load reads the settings from the flags, the environment and the settings file into the bound struct, and looks up what they refer to.
func (f *Flags) Load(ctx context.Context) (*Loaded, error) {
	loaded, err := f.Read()
	if err != nil {
		return nil, err
	}
	return loaded, fetch(ctx, f.into, loaded)
}

// Read is Load without looking anything up: secrets that are references stay empty.
func (f *Flags) Read() (*Loaded, error) {
	sources := Sources{File: f.file, Search: DefaultSearch(), Environ: os.Environ(), Flags: map[string]string{}}
	for key, text := range f.given {
		if f.command.Flags().Changed(flagName(key)) {
			sources.Flags[key] = *text
		}
	}
	return Load(f.into, sources)
}

// Arguments are the flags that were given, to hand on to a process that shall read the same settings.
func (f *Flags) Arguments() (arguments []string) {
	if f.file != "" {
		arguments = append(arguments, "--conf="+f.file)
	}
	for key, text := range f.given {
		if f.command.Flags().Changed(flagName(key)) {
			arguments = append(arguments, "--"+flagName(key)+"="+*text)
		}
	}
	return arguments
}
