package fleetcmd

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

const authoritiesPath = "/clustering/authorities"

const authorityLong = `Whom control planes and data planes believe, and who certifies the data planes that join.

The key of the cluster's CA stays in its folder (keepgate-cp certs), away from every running process. For data planes the
control plane has an edge authority of its own: its key is made inside, rests sealed in the database, and its certificate,
which "create" has the folder's CA sign, keeps it to data planes. It ends after a year; "list" and the log say so in time.

The first one, before any data plane can join:

  keepgate-cp fleet authority create --dir certs

To replace the CA of the cluster, one step after the other, each refused until everybody is ready for it:

  keepgate-cp certs init --dir certs-2 --after certs           # a new CA, which the present one vouches for
  keepgate-cp fleet authority trust certs-2/ca.crt             # everybody believes it beside the present one
  keepgate-cp fleet authority create --dir certs-2             # it certifies data planes; those of the present one renew
  keepgate-cp certs issue NAME --dir certs-2 --role control-plane --dns cp.example.com     # and so each control plane node, under the name it has
  keepgate-cp fleet authority retire FINGERPRINT               # nobody believes the former one any more`

func authorityCommand(admin *adminclient.Options) *cobra.Command {
	root := &cobra.Command{
		Use: "authority", Short: "Whom the planes believe, and who certifies data planes", Long: authorityLong, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(authorityList(admin), authorityCreate(admin), authorityTrust(admin), authorityRetire(admin), authorityEnd(admin))
	return root
}

// authorities is GET /clustering/authorities.
type authorities struct {
	Sequence    uint64
	Problem     string
	Notices     []string
	Authorities []struct {
		Fingerprint, Subject, State string
		NotAfter                    int64  `json:"not_after"`
		CRLNumber                   string `json:"crl_number"`
		Lacking, Needing            []string
	}
	Edges []struct {
		Name, State, Serial string
		Authority           string
		NotAfter            int64 `json:"not_after"`
		CreatedAt           int64 `json:"created_at"`
		Revoked             bool
	} `json:"edge_authorities"`
}

func authorityList(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "Show the authorities, how far each has come, and who is not ready for the next step", Args: cobra.NoArgs, SilenceUsage: true,
	}
	output := cmd.Flags().StringP("output", "o", "", "json, for programs")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := admin.Open()
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := client.Call(cmd.Context(), "GET", authoritiesPath, "", nil, &raw); err != nil {
			return err
		}
		if *output == "json" {
			_, err = fmt.Fprintln(cmd.OutOrStdout(), string(raw))
			return err
		}
		var shown authorities
		if err := json.Unmarshal(raw, &shown); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		return shown.print(cmd)
	}
	return cmd
}

const shownDigits = 16 // of a fingerprint

func (a authorities) print(cmd *cobra.Command) error {
	out := cmd.OutOrStdout()
	if len(a.Authorities) == 0 && a.Problem == "" {
		_, err := fmt.Fprintln(out, "none: data planes go by their operators' files, and none can join; keepgate-cp fleet authority create --dir DIR, with the folder of the cluster's CA")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "FINGERPRINT\tSTATE\tSUBJECT\tEXPIRES\tCRL") // flushed below, as all that follows
	for _, r := range a.Authorities {
		_, _ = fmt.Fprintf(table, "%.*s\t%s\t%s\t%s\t%s\n", shownDigits, r.Fingerprint, r.State, r.Subject, dated(r.NotAfter), orDash(r.CRLNumber))
	}
	_, _ = fmt.Fprintln(table, "\nEDGE AUTHORITY\tSTATE\tSIGNED BY\tMADE\tEXPIRES")
	for _, e := range a.Edges {
		state := e.State
		if e.Revoked {
			state += ", revoked"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", e.Name, state, orDash(fmt.Sprintf("%.*s", shownDigits, e.Authority)), dated(e.CreatedAt), dated(e.NotAfter))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, r := range a.Authorities {
		for _, name := range r.Lacking {
			_, _ = fmt.Fprintf(out, "%.*s is not believed yet by %s\n", shownDigits, r.Fingerprint, name)
		}
		for _, name := range r.Needing {
			_, _ = fmt.Fprintf(out, "%.*s is needed by %s\n", shownDigits, r.Fingerprint, name)
		}
	}
	for _, notice := range a.Notices {
		_, _ = fmt.Fprintf(out, "note: %s\n", notice)
	}
	if a.Problem != "" {
		_, _ = fmt.Fprintf(out, "problem: %s\n", a.Problem)
	}
	return nil
}

func dated(seconds int64) string {
	if seconds == 0 {
		return "-"
	}
	return time.Unix(seconds, 0).UTC().Format(time.RFC3339)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
