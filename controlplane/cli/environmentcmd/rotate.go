package environmentcmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

const rotateLong = `API keys reach data planes as fingerprints under a key of their environment. This gives the environment another one: its data planes
get every API key's fingerprint under both until each of them has the new key, and the previous one then goes by itself. No
client notices. With --wait the command ends when that is done, and says meanwhile who does not have the new key yet.`

// key is GET /environments/{name}/fingerprint-key.
type key struct {
	ID       string   `json:"key_id"`
	Previous string   `json:"previous_key_id"`
	Waiting  []string `json:"waiting_for"`
	Rotating bool
}

func rotate(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate-fingerprint-key NAME", Short: "give an environment another key for the fingerprints of API keys", Long: rotateLong,
		Args: cobra.ExactArgs(1), SilenceUsage: true,
	}
	wait := cmd.Flags().Bool("wait", false, "wait until every data plane has the new key")
	look := cmd.Flags().Bool("status", false, "begin nothing; say how far it is")
	timeout := cmd.Flags().Duration("timeout", 5*time.Minute, "for how long to wait")
	cmd.MarkFlagsMutuallyExclusive("wait", "status")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := admin.Open()
		if err != nil {
			return err
		}
		path := pathOf(args[0]) + "/fingerprint-key"
		var before key
		if err := client.Call(cmd.Context(), "GET", path, "", nil, &before); err != nil || *look {
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), before.line())
			}
			return absent(err, args[0])
		}
		var answer struct{ Message string }
		if err := client.Call(cmd.Context(), "POST", path+"/rotate", "", nil, &answer); err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), answer.Message)
		if !*wait {
			return nil
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		return follow(ctx, cmd, client, path, before.ID)
	}
	return cmd
}

// follow asks until the environment has another key than before, and no previous one.
func follow(ctx context.Context, cmd *cobra.Command, client *adminclient.Client, path, before string) error {
	said := "the new key is not made yet"
	for {
		var now key
		err := client.Call(ctx, "GET", path, "", nil, &now)
		switch {
		case ctx.Err() != nil && cmd.Context().Err() == nil:
			return errors.New("the time is over: " + said)
		case err != nil:
			return err
		case now.ID != before && !now.Rotating:
			_, err := fmt.Fprintln(cmd.OutOrStdout(), now.line())
			return err
		}
		if line := now.line(); line != said && now.ID != before { // of the key from before nobody asked
			said = line
			fmt.Fprintln(cmd.ErrOrStderr(), line)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// line says how far it is.
func (k key) line() string {
	switch {
	case !k.Rotating:
		return "every data plane has key " + printable(k.ID) + " alone"
	case len(k.Waiting) == 0:
		return "every data plane has key " + printable(k.ID) + "; the previous one is about to go"
	}
	const most = 20
	names, more := k.Waiting, ""
	if len(names) > most {
		names, more = names[:most], fmt.Sprintf(" and %d more", len(k.Waiting)-most)
	}
	text := fmt.Sprintf("not yet at %d data planes, which do not have", len(k.Waiting))
	if len(k.Waiting) == 1 {
		text = "not yet at 1 data plane, which does not have"
	}
	return text + " key " + printable(k.ID) + ": " + printable(strings.Join(names, ", ")) + more
}
