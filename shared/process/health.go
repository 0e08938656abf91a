package process

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/shared/fault"
)

func (p Program[S]) health(i *invocation[S]) *cobra.Command {
	command := &cobra.Command{Use: "health", Short: "say whether it runs and is ready; fails unless both"}
	i.timeoutFlag(command, 5*time.Second, "how long an answer may take")
	command.RunE = func(command *cobra.Command, _ []string) error {
		place, _, err := i.read()
		if err != nil {
			return err
		}
		status, err := Look(place)
		switch {
		case err != nil:
			return err
		case !status.Running:
			return fault.Newf(fault.NotFound, "process.Health", place.subject(), "it is not running")
		case !status.Ready:
			return fault.Newf(fault.Unavailable, "process.Health", place.subject(), "it is running (pid %d) and not ready yet", status.Pid)
		}
		if p.Probe != nil {
			ctx, cancel := context.WithTimeout(command.Context(), i.timeout)
			defer cancel()
			if err := p.Probe(*i.into)(ctx); err != nil {
				return fault.Newf(fault.Unavailable, "process.Health", place.subject(), "it is running (pid %d) and not ready: %w", status.Pid, err)
			}
		}
		_, err = fmt.Fprintf(command.OutOrStdout(), "%s is running (pid %d) and ready\n", place.Name, status.Pid)
		return err
	}
	return command
}

func (p Program[S]) check(i *invocation[S]) *cobra.Command {
	command := &cobra.Command{Use: "check", Short: "check the settings and print those in effect, without secrets"}
	command.RunE = func(command *cobra.Command, _ []string) error {
		_, loaded, err := i.load(command.Context())
		if err != nil {
			return err
		}
		if p.Check != nil {
			if err := p.Check(*i.into); err != nil {
				return err
			}
		}
		for _, warning := range loaded.Warnings {
			fmt.Fprintln(command.ErrOrStderr(), "warning:", warning)
		}
		verdict := "the configuration is valid (environment and flags)"
		if loaded.File != "" {
			verdict = "configuration at " + loaded.File + " is valid" // Kong's words
		}
		_, err = fmt.Fprintf(command.OutOrStdout(), "%s%s\n", loaded.Effective(), verdict)
		return err
	}
	return command
}
