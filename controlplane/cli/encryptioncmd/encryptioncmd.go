// Package encryptioncmd is `keepgate-cp encryption`: how secrets rest, over the Admin API, and whether a file of
// providers is right, without anything running.
package encryptioncmd

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

// Command returns the `encryption` command with its subcommands.
func Command() (*cobra.Command, error) {
	root := &cobra.Command{
		Use: "encryption", Short: "How secrets rest in the database: by which provider and key, and why", Args: cobra.NoArgs,
		Long: "How secrets rest in the database: which provider writes each table, how many rows rest under each key, and what is\n" +
			"still in clear. What rests otherwise than it would be written now is written again by: keepgate-cp keyring reencrypt",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	check, err := checkCommand()
	root.AddCommand(status(), explain(), check)
	return root, err
}

// written says who wrote values.
type written struct {
	Provider, Name string
	Key            string `json:"key_id"`
}

func (w written) String() string {
	return strings.Join(strings.Fields(w.Provider+" "+w.Name+" "+w.Key), " ")
}

// page is GET /encryption.
type page struct {
	Configuration *struct {
		Path, Hash, Problem string
		Taken               int64 `json:"taken_at"`
		Automatic           bool  `json:"automatic_reload"`
	}
	Plugins []struct {
		Provider, Name, Endpoint, Problem, Waiting string
		Healthy                                    bool
		ActiveKey                                  string `json:"active_key"`
		KeyAge                                     int64  `json:"active_key_seconds"`
		Keys                                       int
	} `json:"providers"`
	Tables []table
	Clear  int `json:"plaintext_rows"`
	Stale  int `json:"stale_rows"`
}

type table struct {
	Table, Origin, Refused string
	Chain                  []string `json:"providers"`
	Rows                   []struct {
		written
		Rows            int
		Stale, Readable bool
	}
}

func status() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "rows by table, provider and key; what is in clear; how the plugins are", Args: cobra.NoArgs, SilenceUsage: true,
		Long: "Counts rows with secrets by table, provider and key, which reads whole tables of the database. A row in two lines holds\n" +
			"values of both. STALE is what a re-encryption would write again: keepgate-cp keyring reencrypt",
	}
	admin := &adminclient.Options{}
	admin.Flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := admin.Open()
		if err != nil {
			return err
		}
		var p page
		if err := client.Call(cmd.Context(), "GET", "/encryption", "", nil, &p); err != nil {
			return err
		}
		p.head(cmd)
		out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
		for _, t := range p.Tables {
			t.print(out)
		}
		if err := out.Flush(); err != nil {
			return err
		}
		say(cmd, "%d plaintext rows, %d stale rows", p.Clear, p.Stale)
		return nil
	}
	return cmd
}

// head says where the providers come from, and how the plugins among them are.
func (p page) head(cmd *cobra.Command) {
	if c := p.Configuration; c == nil {
		say(cmd, "providers  by the settings; there is no encryption_provider_config")
	} else {
		reload := "at SIGHUP"
		if c.Automatic {
			reload = "by itself"
		}
		say(cmd, "providers  by %s, %s, taken %s, reloaded %s", c.Path, c.Hash, time.Unix(c.Taken, 0).UTC().Format(time.RFC3339), reload)
		if c.Problem != "" {
			say(cmd, "           the file as it lies there now was not taken: %s", c.Problem)
		}
	}
	for _, plugin := range p.Plugins {
		health := "healthy"
		if !plugin.Healthy {
			health = "not healthy: " + plugin.Problem
		}
		text := fmt.Sprintf("%s %s  %s, %s", plugin.Provider, plugin.Name, plugin.Endpoint, health)
		if plugin.ActiveKey != "" {
			text += fmt.Sprintf("; seed %s, %s old, %d held", plugin.ActiveKey, (time.Duration(plugin.KeyAge) * time.Second).String(), plugin.Keys)
		}
		if plugin.Waiting != "" {
			text += "; waiting for " + plugin.Waiting
		}
		say(cmd, "%s", text)
	}
}

func (t table) print(out *tabwriter.Writer) {
	fmt.Fprintf(out, "%s\t%s\t%s\n", shown(t.Table), shown(strings.Join(t.Chain, " > ")), shown(t.Origin))
	if t.Refused != "" {
		fmt.Fprintf(out, "  cannot be written now: %s\n", shown(t.Refused))
	}
	for _, r := range t.Rows {
		state := ""
		switch {
		case !r.Readable:
			state = "UNREADABLE"
		case r.Stale:
			state = "STALE"
		}
		fmt.Fprintf(out, "  %d rows\t%s\t%s\n", r.Rows, shown(cmp.Or(r.written.String(), "?")), state)
	}
}

// explained is GET /encryption/{table}/{id}.
type explained struct {
	Table, ID string
	Fields    []struct {
		written
		Field, Why, Origin, Refused string
		Stale, Readable             bool
		Writer                      written
	}
}

func explain() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain TABLE ID-OR-NAME", Short: "who sealed the secrets of one entity, and what would seal them now and why", Args: cobra.ExactArgs(2), SilenceUsage: true,
		Example: "  keepgate-cp encryption explain keyauth_credentials 7b0c1c1e-8a40-4b5b-9c7a-6f1a1c6a1b52\n" +
			"  keepgate-cp encryption explain basicauth_credentials alice --workspace payments",
		Long: "Shows of each encrypted field who sealed it and under which key, whether it is stale, and which provider would write it\n" +
			"now, with what says so. It shows no value. What is a secret itself, as the key of a key-auth credential, is better\n" +
			"not given as a name, since other users of this machine see arguments: give the id.",
	}
	admin := &adminclient.Options{}
	admin.Flags(cmd)
	workspace := cmd.Flags().String("workspace", "", "the entity's workspace, by name or id (default: default)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := admin.Open()
		if err != nil {
			return err
		}
		path := "/encryption/" + url.PathEscape(args[0]) + "/" + url.PathEscape(args[1])
		if *workspace != "" {
			path = "/" + url.PathEscape(*workspace) + path
		}
		var e explained
		if err := client.Call(cmd.Context(), "GET", path, "", nil, &e); err != nil {
			return err
		}
		e.print(cmd)
		return nil
	}
	return cmd
}

func (e explained) print(cmd *cobra.Command) {
	say(cmd, "%s %s", e.Table, e.ID)
	if len(e.Fields) == 0 {
		say(cmd, "  it holds no secret")
	}
	for _, f := range e.Fields {
		state := "current"
		if f.Stale {
			state = "stale"
		}
		if !f.Readable {
			state = "unreadable"
		}
		say(cmd, "  %-12s written by %s: %s, %s", f.Field, f.written, state, f.Why)
		say(cmd, "  %-12s would be written by %s: %s", "", f.Writer, f.Origin)
		if f.Refused != "" {
			say(cmd, "  %-12s which cannot write now: %s", "", f.Refused)
		}
	}
}

// say writes a line, without what a terminal would take for a command.
func say(cmd *cobra.Command, format string, args ...any) {
	_, _ = fmt.Fprintln(cmd.OutOrStdout(), shown(fmt.Sprintf(format, args...))) // a closed pipe ends the process anyway
}

func shown(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
