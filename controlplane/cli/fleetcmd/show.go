package fleetcmd

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

func showCommand(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NODE", Short: "show all that is known of one data plane", Args: cobra.ExactArgs(1), SilenceUsage: true,
		Long: "NODE is a data plane's name, or <environment>/<name>, or its id; a name that several have needs --environment.",
	}
	environment := cmd.Flags().String("environment", "", "the environment of the data plane")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := admin.Open()
		if err != nil {
			return err
		}
		path := "/clustering/data-planes/" + url.PathEscape(args[0])
		if *environment != "" {
			path += "?environment=" + url.QueryEscape(*environment)
		}
		var d plane
		if err := client.Call(cmd.Context(), "GET", path, "", nil, &d); err != nil {
			if refusal, ok := errors.AsType[*adminclient.Refusal](err); ok && refusal.Status == http.StatusNotFound {
				return fmt.Errorf("no data plane %q is known; keepgate-cp fleet list shows them", args[0])
			}
			return err
		}
		table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
		for _, line := range d.tell() {
			fmt.Fprintf(table, "%s\t%s\n", line[0], line[1])
		}
		return table.Flush()
	}
	return cmd
}

// tell is a data plane in words: what, and how it is.
func (d plane) tell() [][2]string {
	lines := [][2]string{
		{"name", printable(d.Environment + "/" + d.Name)},
		{"id", d.ID},
		{"organisation", printable(d.Organisation)},
		{"host", printable(d.Hostname) + ", " + printable(d.IP)},
		{"program", printable(d.Version)},
		{"labels", pairs(d.Labels)},
		{"link", d.link() + ", last seen " + ago(d.LastSeen)},
		{"serves", d.serves()},
		{"status", d.SyncStatus + meaning(d.SyncStatus)},
		{"holds", d.position()},
		{"certificate", d.certificate()},
		{"believes", d.believes()},
	}
	for _, problem := range d.problems() {
		lines = append(lines, [2]string{"mind", problem})
	}
	if len(d.Plugins) > 0 {
		lines = append(lines, [2]string{"plugins", pairs(d.Plugins)})
	}
	return lines
}

func (d plane) serves() string {
	if d.Ready {
		return "ready for clients when it last said so"
	}
	return "not ready for clients when it last said so"
}

// meaning explains a status that is no good news.
func meaning(status string) string {
	switch status {
	case "unknown":
		return ": it has not answered yet"
	case "refused":
		return ": it goes on with what it had"
	case "ahead":
		return ": it holds more than the database ever gave out; was that restored? keepgate-cp fleet accept-restore"
	case "kong_version_incompatible":
		return ": its program is too old or too new for this control plane"
	case "plugin_set_incompatible":
		return ": a plugin is configured that it does not have"
	case "plugin_version_incompatible":
		return ": it cannot use a plugin that it has in another version"
	}
	return ""
}

func (d plane) position() string {
	if d.ConfigHash == "" {
		return "nothing"
	}
	text := fmt.Sprintf("version %d of epoch %d, hash %s", d.ConfigVersion, d.Epoch, printable(d.ConfigHash))
	switch behind := d.behind(); behind {
	case "?":
		return text
	case "-":
		return text + ", the newest"
	default:
		return text + ", " + behind + " behind"
	}
}

func (d plane) certificate() string {
	parts := []string{"serial " + printable(d.Serial), "ends " + day(d.Certificate.Expires) + " (" + until(d.Certificate.Expires) + ")"}
	if d.Certificate.Issued > 0 {
		parts = append(parts, "issued "+day(d.Certificate.Issued))
	}
	if d.Issuer != "" {
		parts = append(parts, "by "+printable(d.Issuer))
	}
	if d.Root != "" {
		parts = append(parts, "below "+printable(d.Root))
	}
	if d.JoinedAt > 0 {
		parts = append(parts, "joined "+day(d.JoinedAt))
	}
	if d.RenewedAt > 0 {
		parts = append(parts, "renewed "+day(d.RenewedAt))
	}
	return strings.Join(parts, ", ")
}

func (d plane) believes() string {
	if d.TrustSequence == 0 {
		return "the authorities in its operator's files"
	}
	return fmt.Sprintf("the authorities that the control plane sent, sequence %d", d.TrustSequence)
}

func day(at int64) string { return time.Unix(at, 0).UTC().Format("2006-01-02 15:04 UTC") }

func pairs(m map[string]string) string {
	if len(m) == 0 {
		return "none"
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		words = append(words, printable(name)+":"+printable(m[name]))
	}
	return strings.Join(words, " ")
}
