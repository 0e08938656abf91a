// Package configcmd is `keepgate-cp config`: declarative files in and out of a running control plane, and checked
// without one.
//
// What a file may say is shared/declarative's, what it changes the control plane's; here are flags, files and
// words.
package configcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
	"github.com/keepgate/keepgate/shared/declarative"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

const long = `Declarative files, format 3.0, YAML or JSON, in and out of the control plane.

A push makes the workspace hold what the files say: what they do not name is DELETED. With select tags
only entities that have all of the tags are touched, and what is pushed gets them. --keep deletes nothing.
A push is one transaction and one version: all of it, or nothing when anything is refused.`

// Command returns the `config` command with its subcommands.
func Command() *cobra.Command {
	root := &cobra.Command{
		Use: "config", Short: "Declarative files: push, diff, dump, validate", Long: long, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin := &adminclient.Options{}
	admin.Flags(root)
	root.AddCommand(pushCommand(admin), diffCommand(admin), dumpCommand(admin), validateCommand(admin))
	return root
}

// push holds the flags of what sends files.
type push struct {
	admin      *adminclient.Options
	workspace  string
	tags       []string
	keep       bool
	allowEmpty bool
	dryRun     bool
	json       bool
}

func (p *push) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.workspace, "workspace", "", "the workspace (default: the files', or \"default\")")
	cmd.Flags().StringSliceVar(&p.tags, "select-tag", nil, "touch only entities with this tag, and give it to what is pushed; may be repeated")
	cmd.Flags().BoolVar(&p.keep, "keep", false, "delete nothing: what the files do not name stays as it is")
	cmd.Flags().BoolVar(&p.allowEmpty, "allow-empty", false, "files without any entity are meant: delete everything selected")
	cmd.Flags().BoolVar(&p.json, "json", false, "print the control plane's answer as it is")
}

func pushCommand(admin *adminclient.Options) *cobra.Command {
	p := &push{admin: admin}
	cmd := &cobra.Command{
		Use: "push FILE…", Short: "make the control plane hold what the files say; \"-\" is the standard input", Long: long,
		Args: cobra.MinimumNArgs(1), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, files []string) error {
			_, err := p.run(cmd, files)
			return err
		},
	}
	p.flags(cmd)
	cmd.Flags().BoolVar(&p.dryRun, "dry-run", false, "check everything and show what would change; write nothing")
	return cmd
}

// Differs is the error of `config diff --exit-code` when something would change; the process ends with status 2.
type Differs struct{ Changes int }

func (d Differs) Error() string { return counted(d.Changes, "change", "changes") }

func counted(n int, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// ExitCode is the exit status of the process.
func (Differs) ExitCode() int { return 2 }

func diffCommand(admin *adminclient.Options) *cobra.Command {
	p := &push{admin: admin, dryRun: true}
	cmd := &cobra.Command{
		Use: "diff FILE…", Short: "show what a push of the files would change", Args: cobra.MinimumNArgs(1), SilenceUsage: true,
	}
	exitCode := cmd.Flags().Bool("exit-code", false, "end with status 2 when something would change")
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		changes, err := p.run(cmd, files)
		if err == nil && *exitCode && changes > 0 {
			return Differs{changes}
		}
		return err
	}
	p.flags(cmd)
	return cmd
}

// run sends the files and prints what came of it.
func (p *push) run(cmd *cobra.Command, files []string) (changes int, err error) {
	in, err := read(cmd.InOrStdin(), files)
	if err != nil {
		return 0, err
	}
	client, err := p.admin.Open()
	if err != nil {
		return 0, err
	}
	return p.send(cmd, client, in)
}

func (p *push) send(cmd *cobra.Command, client *adminclient.Client, in *input) (changes int, err error) {
	query := url.Values{}
	if p.dryRun {
		query.Set("dry_run", "1")
	}
	if p.keep {
		query.Set("mode", "upsert")
	}
	if p.allowEmpty {
		query.Set("allow_empty", "1")
	}
	if len(p.tags) > 0 {
		query.Set("select_tags", strings.Join(p.tags, ","))
	}
	var body json.RawMessage
	err = client.Call(cmd.Context(), "POST", path(p.workspace, "/config", query), "text/yaml", in.text, &body)
	if refusal, ok := errors.AsType[*adminclient.Refusal](err); ok {
		return 0, in.explain(refusal)
	}
	if err != nil {
		return 0, err
	}
	var r report
	if err := json.Unmarshal(body, &r); err != nil {
		return 0, fmt.Errorf("reading the control plane's answer: %w", err)
	}
	if p.json {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), string(body))
		return len(r.Changes), err
	}
	return len(r.Changes), r.print(cmd.OutOrStdout())
}

// path puts a workspace before a path and a query behind it.
func path(workspace, path string, query url.Values) string {
	if workspace != "" {
		path = "/" + url.PathEscape(workspace) + path
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

func validateCommand(admin *adminclient.Options) *cobra.Command {
	p := &push{admin: admin, dryRun: true}
	cmd := &cobra.Command{
		Use: "validate FILE…", Short: "check files: form, fields and references", Args: cobra.MinimumNArgs(1), SilenceUsage: true,
		Long: "Check files by themselves: form, fields, and that what they refer to is in them. With --online a running\n" +
			"control plane also checks them against what it holds; nothing is written.",
	}
	online := cmd.Flags().Bool("online", false, "let the control plane check too")
	p.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		in, err := read(cmd.InOrStdin(), files)
		if err != nil {
			return err
		}
		file, err := declarative.Parse(schema.New(plugins.All()), files[0], in.text)
		if problems, ok := errors.AsType[*declarative.Problems](err); ok {
			return in.name(problems)
		}
		if err != nil {
			return err
		}
		if *online {
			client, err := admin.Open()
			if err == nil {
				_, err = p.send(cmd, client, in)
			}
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s, all good\n", counted(len(file.Entities), "entity", "entities"))
		return err
	}
	return cmd
}

// dump holds the flags of what writes a file.
type dump struct {
	admin          *adminclient.Options
	workspace, out string
	tags           []string
	nested, force  bool
}

func dumpCommand(admin *adminclient.Options) *cobra.Command {
	d := &dump{admin: admin}
	cmd := &cobra.Command{
		Use: "dump", Short: "write what the control plane holds as a declarative file", Args: cobra.NoArgs, SilenceUsage: true,
		Long: "Write what the control plane holds as a declarative file. It holds keys in clear and passwords as hashes,\n" +
			"so a file that -o names is made with mode 0600. What a shell makes with > has the shell's mode, which others may\n" +
			"be able to read: use -o. A push of it changes nothing.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out, ok := cmd.OutOrStdout().(*os.File); ok && d.out == "-" && shared(out) {
				cmd.PrintErrln("warning: the output holds keys in clear, and others may read its file: use -o FILE, or chmod 600 it")
			}
			return d.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&d.workspace, "workspace", "", "the workspace (default \"default\")")
	cmd.Flags().StringSliceVar(&d.tags, "select-tag", nil, "only entities with this tag; may be repeated")
	cmd.Flags().StringVarP(&d.out, "output", "o", "-", "the file to write, with mode 0600; \"-\" is the standard output, which then holds secrets in clear")
	cmd.Flags().BoolVar(&d.nested, "nested", false, "write children below their parents")
	cmd.Flags().BoolVar(&d.force, "force", false, "replace a file that is there")
	return cmd
}

// shared reports whether what is written to a file may be read by others than its owner.
func shared(out *os.File) bool {
	info, err := out.Stat()
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o044 != 0
}

func (d *dump) run(ctx context.Context, out io.Writer) error {
	client, err := d.admin.Open()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(d.out); err == nil && d.out != "-" && !d.force {
		return fmt.Errorf("%s is there already; --force replaces it", d.out)
	}
	query := url.Values{}
	if d.nested {
		query.Set("nested", "1")
	}
	if len(d.tags) > 0 {
		query.Set("select_tags", strings.Join(d.tags, ","))
	}
	var answer struct{ Config string }
	if err := client.Call(ctx, "GET", path(d.workspace, "/config", query), "", nil, &answer); err != nil {
		return err
	}
	if d.out == "-" {
		_, err = io.WriteString(out, answer.Config)
		return err
	}
	return save(d.out, answer.Config)
}
