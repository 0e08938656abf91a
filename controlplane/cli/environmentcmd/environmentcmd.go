// Package environmentcmd is `keepgate-cp environments`: the groups of data planes and what each of them gets, over the Admin API.
package environmentcmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

const long = `An environment is a group of data planes. A data plane is of the environment that its certificate names, and gets what that
selects, with all that it needs, and nothing else: no secret of another environment reaches it.

  workspaces    whose entities it may get; all of them where none is named
  select tags   services and routes that carry one of these tags are its own; all of its workspaces where none is named
  by need       plugins, upstreams, certificates and CA certificates of what is its own; consumers with a credential of a kind
                that one of its plugins checks. What carries a tag that another environment selects, and this one does not,
                is left out

  keepgate-cp environments create prod --workspaces default --select-tags prod
  keepgate-cp environments create staging --workspaces default --select-tags staging
  keepgate-cp fleet invite --environment prod`

// Command returns the `environments` command with its subcommands.
func Command() *cobra.Command {
	root := &cobra.Command{
		Use: "environments", Aliases: []string{"environment"}, Short: "Groups of data planes, and what each gets: list, show, holds, create, update, delete, rotate-fingerprint-key",
		Long: long, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin := &adminclient.Options{}
	admin.Flags(root)
	root.AddCommand(list(admin), show(admin), holds(admin), create(admin), update(admin), remove(admin), rotate(admin))
	return root
}

// environment is one as the Admin API shows it. A list that is null selects all.
type environment struct {
	ID, Name, Comment string
	Workspaces, Tags  *[]string
	SelectTags        *[]string `json:"select_tags"`
	CreatedAt         int64     `json:"created_at"`
	UpdatedAt         int64     `json:"updated_at"`
}

// newest is what its data planes should hold, and how many are known.
type newest struct {
	Newest *struct{ Epoch, Version uint64 }
	Total  int
}

func pathOf(name string) string { return "/environments/" + url.PathEscape(name) }

// selection tells a list in words.
func selection(list *[]string, nothing string) string {
	switch {
	case list == nil:
		return "all"
	case len(*list) == 0:
		return nothing
	}
	return printable(strings.Join(*list, " "))
}

// choice are the flags that say what an environment selects.
type choice struct {
	comment               string
	workspaces, tags      []string
	all, everything, bare bool
}

func (c *choice) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&c.comment, "comment", "", "what it is for")
	flags.StringSliceVar(&c.workspaces, "workspaces", nil, "workspaces whose entities it may get, by name")
	flags.StringSliceVar(&c.tags, "select-tags", nil, "services and routes with one of these tags are its own")
	flags.BoolVar(&c.all, "all-workspaces", false, "it may get entities of every workspace, those that are made later too")
	flags.BoolVar(&c.everything, "select-all", false, "everything of its workspaces is its own")
	flags.BoolVar(&c.bare, "select-nothing", false, "nothing is its own: its data planes serve nothing")
	cmd.MarkFlagsMutuallyExclusive("workspaces", "all-workspaces")
	cmd.MarkFlagsMutuallyExclusive("select-tags", "select-all", "select-nothing")
}

// document is what the flags say, and nothing of what they do not say.
func (c *choice) document(cmd *cobra.Command) (map[string]any, error) {
	doc := map[string]any{}
	if cmd.Flags().Changed("comment") {
		doc["comment"] = c.comment
		if c.comment == "" {
			doc["comment"] = nil
		}
	}
	for name, given := range map[string][]string{"workspaces": c.workspaces, "select-tags": c.tags} {
		if !cmd.Flags().Changed(name) {
			continue
		}
		if len(given) == 0 {
			return nil, fmt.Errorf("--%s names nothing; --all-workspaces, --select-all and --select-nothing say what is meant", name)
		}
		doc[strings.ReplaceAll(name, "-", "_")] = given
	}
	if c.all {
		doc["workspaces"] = nil
	}
	if c.everything {
		doc["select_tags"] = nil
	}
	if c.bare {
		doc["select_tags"] = []string{}
	}
	return doc, nil
}

// send writes a document and reads the environment that it makes.
func send(cmd *cobra.Command, admin *adminclient.Options, method, path string, doc map[string]any) (made environment, err error) {
	client, err := admin.Open()
	if err != nil {
		return made, err
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return made, err
	}
	return made, client.Call(cmd.Context(), method, path, "application/json", body, &made)
}

func create(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "create NAME", Short: "make an environment", Args: cobra.ExactArgs(1), SilenceUsage: true,
		Long: "NAME is what certificates of its data planes say: letters, digits and -._~, the first a letter or digit. It cannot be\n" +
			"changed. Without further words it gets everything of every workspace.",
	}
	var c choice
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		doc, err := c.document(cmd)
		if err != nil {
			return err
		}
		doc["name"] = args[0]
		made, err := send(cmd, admin, "POST", "/environments", doc)
		if refusal, ok := errors.AsType[*adminclient.Refusal](err); ok && refusal.Status == http.StatusConflict {
			return fmt.Errorf("there is an environment %q already; keepgate-cp environments update changes it", args[0])
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "made environment %s; let a data plane join it: keepgate-cp fleet invite --environment %s\n", printable(made.Name), printable(made.Name))
		return made.tell(cmd)
	}
	return cmd
}

func update(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "update NAME", Short: "change what an environment selects", Args: cobra.ExactArgs(1), SilenceUsage: true,
		Long: "Its data planes get exactly the difference, at once: they lose what is not selected any more.",
	}
	var c choice
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		doc, err := c.document(cmd)
		if err != nil {
			return err
		}
		if len(doc) == 0 {
			return errors.New("say what to change; keepgate-cp environments update --help shows the flags")
		}
		made, err := send(cmd, admin, "PATCH", pathOf(args[0]), doc)
		if err != nil {
			return absent(err, args[0])
		}
		return made.tell(cmd)
	}
	return cmd
}

func remove(admin *adminclient.Options) *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "take an environment away that has no data planes", Args: cobra.ExactArgs(1), SilenceUsage: true,
		Long: "Refused while data planes belong to it, who are then named: revoke them, or stop them and wait until\n" +
			"cluster_data_plane_purge_delay is over. Entities stay as they are.",
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := admin.Open()
			if err != nil {
				return err
			}
			if err := client.Call(cmd.Context(), "GET", pathOf(args[0]), "", nil, nil); err != nil {
				return absent(err, args[0]) // what is not there would count as deleted
			}
			if err := client.Call(cmd.Context(), "DELETE", pathOf(args[0]), "", nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "environment %s is gone\n", printable(args[0]))
			return err
		},
	}
}

// absent says in plain words that an environment is not there, where that is why a call was refused.
func absent(err error, name string) error {
	if refusal, ok := errors.AsType[*adminclient.Refusal](err); ok && refusal.Status == http.StatusNotFound {
		return fmt.Errorf("there is no environment %q; keepgate-cp environments list shows them", name)
	}
	return err
}

func day(at int64) string { return time.Unix(at, 0).UTC().Format("2006-01-02 15:04 UTC") }

// printable is a text without what a terminal would take for a command.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
