package process

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/shared/settings"
)

// Program is what the commands run. S is its settings struct.
type Program[S any] struct {
	Name   string         // "keepgate-dp"
	Prefix func(S) string // which of its settings is the prefix folder
	Run    Main[S]        // the work
	Probe  func(S) Probe  // optional: asks the running program how it is, for health
	Check  func(S) error  // optional: what check finds beyond the settings' form
}

// Main does a program's work until ctx ends. It calls [Instance.Ready] once it serves.
type Main[S any] func(ctx context.Context, instance *Instance, s S, loaded *settings.Loaded) error

// Probe asks a running program how it is; nil means ready.
type Probe func(ctx context.Context) error

// Commands are run, start, stop, restart, reload, health and check.
func (p Program[S]) Commands() ([]*cobra.Command, error) {
	var commands []*cobra.Command
	var faults error
	for _, make := range []func(*invocation[S]) *cobra.Command{p.run, p.start, p.stop, p.restart, p.reload, p.health, p.check} {
		i := &invocation[S]{into: new(S), program: p}
		command := make(i)
		flags, err := settings.Bind(command, i.into)
		faults = errors.Join(faults, err)
		i.flags = flags
		command.Args = cobra.NoArgs
		command.SilenceUsage = true
		commands = append(commands, command)
	}
	return commands, faults
}

// invocation is one command's flags and what they say.
type invocation[S any] struct {
	program Program[S]
	flags   *settings.Flags
	into    *S
	timeout time.Duration
	kill    bool
}

// load reads the settings anew, with all that they refer to, so that bad ones stop a command before it touches a process.
func (i *invocation[S]) load(ctx context.Context) (Place, *settings.Loaded, error) {
	return i.placed(i.flags.Load(ctx))
}

// read is load for commands that need no secret: they work while a vault does not.
func (i *invocation[S]) read() (Place, *settings.Loaded, error) { return i.placed(i.flags.Read()) }

func (i *invocation[S]) placed(loaded *settings.Loaded, err error) (Place, *settings.Loaded, error) {
	if err != nil {
		return Place{}, nil, err
	}
	return i.place(), loaded, nil
}

// place is where the settings say, as a path that means the same in every folder: it stands in messages.
func (i *invocation[S]) place() Place {
	prefix := i.program.Prefix(*i.into)
	if absolute, err := filepath.Abs(prefix); err == nil {
		prefix = absolute
	}
	return Place{Prefix: prefix, Name: i.program.Name}
}

func (i *invocation[S]) timeoutFlag(command *cobra.Command, fallback time.Duration, help string) {
	command.Flags().DurationVar(&i.timeout, "timeout", fallback, help)
}

func (p Program[S]) run(i *invocation[S]) *cobra.Command {
	command := &cobra.Command{Use: "run", Short: "run in the foreground until SIGTERM or SIGINT; SIGHUP reloads"}
	if help, err := settings.Help(i.into); err == nil {
		command.Long = "Run in the foreground until SIGTERM or SIGINT; SIGHUP reloads.\n\n" + help
	}
	command.RunE = func(command *cobra.Command, _ []string) error {
		place, loaded, err := i.load(command.Context())
		if err != nil {
			return err
		}
		reloads, end := relay() // before the pid file tells anyone where to send SIGHUP, which would end us
		defer end()
		instance, err := hold(place, reloads)
		if err != nil {
			return err
		}
		in := *i.into // before anything reads the settings again
		instance.reread = i.flags.Read
		ctx, stop := signal.NotifyContext(command.Context(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		context.AfterFunc(ctx, stop) // a second signal ends the process at once
		return errors.Join(p.Run(ctx, instance, in, loaded), instance.Release())
	}
	return command
}

// relay turns SIGHUP into reloads until end is called, which waits.
func relay() (reloads chan struct{}, end func()) {
	reloads = make(chan struct{}, 1)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			case <-hangups:
				select {
				case reloads <- struct{}{}:
				default: // one is waiting already
				}
			}
		}
	}()
	return reloads, func() { signal.Stop(hangups); close(stop); <-ended }
}
