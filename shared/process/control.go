package process

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/shared/fault"
)

func (p Program[S]) start(i *invocation[S]) *cobra.Command {
	command := &cobra.Command{Use: "start", Short: "run behind the shell and wait until it runs; say so when it is not ready then"}
	i.timeoutFlag(command, time.Minute, "how long it may take until it runs")
	command.RunE = func(command *cobra.Command, _ []string) error {
		place, _, err := i.read()
		if err != nil {
			return err
		}
		return i.begin(command, place)
	}
	return command
}

func (i *invocation[S]) begin(command *cobra.Command, place Place) error {
	ctx, cancel := context.WithTimeout(command.Context(), i.timeout)
	defer cancel()
	before := place.logLength()
	pid, err := Start(ctx, place, append([]string{"run"}, i.flags.Arguments()...))
	if err != nil {
		return err
	}
	unready := i.unready(command.Context())
	for _, warning := range place.warningsSince(before) {
		command.PrintErrln(warning)
	}
	if unready != nil {
		_, err = fmt.Fprintf(command.OutOrStdout(), "%s started (pid %d), but not ready: %v; log %s\n", place.Name, pid, unready, place.LogFile())
		return err
	}
	_, err = fmt.Fprintf(command.OutOrStdout(), "%s started (pid %d), log %s\n", place.Name, pid, place.LogFile())
	return err
}

// settleTime is what a program that runs is given to become ready before start says that it is not.
const settleTime = 2 * time.Second

// unready asks the program that was started how it is, for a moment; nil when it is ready.
func (i *invocation[S]) unready(ctx context.Context) error {
	if i.program.Probe == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	probe, tick := i.program.Probe(*i.into), time.NewTicker(5*pollEvery)
	defer tick.Stop()
	last := fmt.Errorf("it gave no answer")
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil { // what it said before its time was over says more
			return last
		}
		last = err
		select {
		case <-ctx.Done():
			return last
		case <-tick.C:
		}
	}
}

// stop does not insist on good settings, only on knowing the prefix: what runs must be stoppable after its
// file was broken.
func (p Program[S]) stop(i *invocation[S]) *cobra.Command {
	command := &cobra.Command{Use: "stop", Short: "end the running program and wait until it has ended"}
	i.endFlags(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		if _, _, err := i.read(); err != nil {
			if p.Prefix(*i.into) == "" {
				return err
			}
			command.PrintErrln("warning:", err)
		}
		return i.end(command, i.place())
	}
	return command
}

func (i *invocation[S]) endFlags(command *cobra.Command) {
	i.timeoutFlag(command, 30*time.Second, "how long it may take")
	command.Flags().BoolVar(&i.kill, "kill", false, "kill it when it has not ended in time")
}

func (i *invocation[S]) end(command *cobra.Command, place Place) error {
	ctx, cancel := context.WithTimeout(command.Context(), i.timeout)
	defer cancel()
	if err := Stop(ctx, place, i.kill); err != nil {
		return err
	}
	_, err := fmt.Fprintf(command.OutOrStdout(), "%s stopped\n", place.Name)
	return err
}

func (p Program[S]) restart(i *invocation[S]) *cobra.Command {
	command := &cobra.Command{Use: "restart", Short: "stop, if it runs, and start"}
	i.endFlags(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		place, _, err := i.load(command.Context())
		if err != nil {
			return err
		}
		if p.Check != nil { // while what runs still does
			if err := p.Check(*i.into); err != nil {
				return err
			}
		}
		if err := i.end(command, place); err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		return i.begin(command, place)
	}
	return command
}

func (p Program[S]) reload(i *invocation[S]) *cobra.Command {
	command := &cobra.Command{Use: "reload", Short: "read certificates and keys again, and settings that can change while running"}
	command.RunE = func(command *cobra.Command, _ []string) error {
		place, _, err := i.read()
		if err != nil {
			return err
		}
		if err := Signal(place, syscall.SIGHUP); err != nil {
			return err
		}
		_, err = fmt.Fprintf(command.OutOrStdout(), "%s reloads\n", place.Name)
		return err
	}
	return command
}
