// Package cachecmd is `keepgate-cp cache`: purging what data planes keep of responses, over the Admin API.
package cachecmd

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
	"github.com/keepgate/keepgate/controlplane/cli/fleetcmd"
)

const purgeLong = `Purges responses that the plugin proxy-cache keeps: all of a workspace, those of one plugin, or the one with a key (the header
X-Cache-Key of a response shows it). Data planes do it when they take the version that says so, and those that are away when they
are back; with --wait the command returns when all of them have.

  keepgate-cp cache purge --wait
  keepgate-cp cache purge --plugin 0b5c8d0e-6d6f-4a31-8a0a-4f5f7b6f4b11`

// Command returns the `cache` command with its subcommands.
func Command() *cobra.Command {
	root := &cobra.Command{
		Use: "cache", Short: "Responses that data planes keep: purge", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin := &adminclient.Options{}
	admin.Flags(root)
	root.AddCommand(purgeCommand(admin))
	return root
}

func purgeCommand(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{Use: "purge", Short: "purge kept responses", Long: purgeLong, Args: cobra.NoArgs, SilenceUsage: true}
	var workspace, plugin, key string
	var wait bool
	var timeout time.Duration
	flags := cmd.Flags()
	flags.StringVar(&workspace, "workspace", "", "whose responses (default: those of the default workspace)")
	flags.StringVar(&plugin, "plugin", "", "only those of this plugin: its id or instance_name")
	flags.StringVar(&key, "key", "", "only the one with this key")
	flags.BoolVar(&wait, "wait", false, "return when every data plane has done it")
	flags.DurationVar(&timeout, "timeout", 5*time.Minute, "for how long to wait")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if timeout <= 0 {
			return errors.New("--timeout must be a time, as 5m")
		}
		for _, name := range []string{"workspace", "plugin", "key"} {
			if flags.Changed(name) && flags.Lookup(name).Value.String() == "" {
				return fmt.Errorf("--%s is empty: leave it out to purge more", name)
			}
		}
		client, err := admin.Open()
		if err != nil {
			return err
		}
		if err := client.Call(cmd.Context(), "DELETE", path(workspace, plugin, key), "", nil, nil); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), "purged: data planes are being told"); err != nil || !wait {
			return err
		}
		return fleetcmd.Everywhere(cmd.Context(), client, timeout, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// path is what the Admin API calls it.
func path(workspace, plugin, key string) string {
	p := "/proxy-cache"
	if workspace != "" {
		p = "/" + url.PathEscape(workspace) + p
	}
	switch {
	case plugin != "" && key != "":
		return p + "/" + url.PathEscape(plugin) + "/caches/" + url.PathEscape(key)
	case plugin != "":
		return p + "/" + url.PathEscape(plugin) + "/caches"
	case key != "":
		return p + "/" + url.PathEscape(key)
	}
	return p
}
