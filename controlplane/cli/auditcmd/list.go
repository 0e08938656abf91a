package auditcmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

// maxPage is the most that the Admin API gives at once.
const maxPage = 1000

// entry is one of GET /audit.
type entry struct {
	Node     string       `json:"node"`
	Sequence uint64       `json:"sequence"`
	At       int64        `json:"at"`
	Actor    audit.Actor  `json:"actor"`
	Action   string       `json:"action"`
	Subject  string       `json:"subject"`
	Detail   audit.Detail `json:"detail"`
	Outcome  string       `json:"outcome,omitempty"`
	Hash     string       `json:"hash"`
	Damaged  bool         `json:"damaged,omitempty"`
}

// selection is what the flags of list ask for.
type selection struct {
	node, action string
	count        int
	json, follow bool
	every        time.Duration
}

func list(admin *adminclient.Options) *cobra.Command {
	s := selection{}
	cmd := &cobra.Command{
		Use: "list", Short: "show entries, the newest last", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := admin.Open()
			if err != nil {
				return err
			}
			return s.run(cmd.Context(), client, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&s.node, "node", "", "only the entries of this node (its id)")
	flags.StringVar(&s.action, "action", "", "only these actions: key.activate, or key for all that begin with it")
	flags.IntVarP(&s.count, "count", "n", 50, "how many of the newest entries")
	flags.BoolVar(&s.json, "json", false, "print one JSON object a line")
	flags.BoolVarP(&s.follow, "follow", "f", false, "go on with entries as they are written")
	flags.DurationVar(&s.every, "every", 2*time.Second, "how often --follow looks")
	return cmd
}

func (s selection) run(ctx context.Context, client *adminclient.Client, out io.Writer) error {
	if s.count < 1 || s.every <= 0 {
		return errors.New("--count and --every must be positive")
	}
	shown := map[string]uint64{} // newest sequence by node
	for first := true; first || s.follow; first = false {
		entries, err := s.newest(ctx, client)
		if err != nil {
			return err
		}
		entries = slices.DeleteFunc(entries, func(e entry) bool { return e.Sequence <= shown[e.Node] })
		for _, e := range entries {
			shown[e.Node] = max(shown[e.Node], e.Sequence)
		}
		if err := s.print(out, entries, first); err != nil {
			return err
		}
		if !s.follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.every):
		}
	}
	return nil
}

// newest reads the newest entries, oldest first.
func (s selection) newest(ctx context.Context, client *adminclient.Client) (entries []entry, err error) {
	query := url.Values{"size": {strconv.Itoa(min(s.count, maxPage))}}
	if s.node != "" {
		query.Set("node", s.node)
	}
	if s.action != "" {
		query.Set("action", s.action)
	}
	for len(entries) < s.count {
		var page struct {
			Data   []entry
			Offset string
		}
		if err := client.Call(ctx, "GET", "/audit?"+query.Encode(), "", nil, &page); err != nil {
			return nil, err
		}
		entries = append(entries, page.Data...)
		if page.Offset == "" {
			break
		}
		query.Set("offset", page.Offset)
	}
	entries = entries[:min(len(entries), s.count)]
	slices.Reverse(entries)
	return entries, nil
}

func (s selection) print(out io.Writer, entries []entry, first bool) error {
	if s.json {
		for _, e := range entries {
			text, err := json.Marshal(e)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "%s\n", text)
		}
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	if first {
		fmt.Fprintln(table, "TIME\tNODE\tNUMBER\tWHO\tACTION\tSUBJECT\tDETAIL")
	}
	for _, e := range entries {
		who := cmp.Or(e.Actor.Via, "?")
		if e.Actor.Name != "" {
			who = e.Actor.Name
		}
		if e.Actor.Client != "" {
			who = e.Actor.Client + " (" + who + ")"
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", time.UnixMilli(e.At).UTC().Format("2006-01-02T15:04:05.000Z"),
			harmless(e.Node), e.Sequence, harmless(who), harmless(e.Action), harmless(e.Subject), harmless(e.rest()))
	}
	return table.Flush()
}

func (e entry) rest() string {
	var words []string
	if e.Damaged {
		words = append(words, "DAMAGED: run keepgate-cp audit verify")
	}
	if e.Outcome != "" {
		words = append(words, e.Outcome)
	}
	for _, pair := range e.Detail {
		words = append(words, pair.Name+"="+pair.Value)
	}
	return strings.Join(words, " ")
}
