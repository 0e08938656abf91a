package reencryptcmd

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

// progress is GET /keyring/reencrypt.
type progress struct {
	State, ID, To, Node, Waiting, Reason string
	Rate, Scanned, Resealed, Unreadable  int
	Percent                              float64
	RowsPerSecond                        float64 `json:"rows_per_second"`
	SecondsLeft                          *int    `json:"seconds_left"`
	Tables                               []table
	Proof                                *proof
}

type table struct {
	Table      string
	Unreadable []struct {
		Key    string `json:"key_id"`
		Reason string
		Rows   int
		IDs    []string
	}
}

type proof struct {
	Tables []struct {
		Table string
		Key   string `json:"key_id"`
		Rows  int
	}
	Keys []struct {
		Key    string `json:"key_id"`
		Rows   int
		Active bool
	}
	Clear        int
	Ended, Files string
}

func (p progress) ended() bool {
	return p.State == "done" || p.State == "failed" || p.State == "cancelled"
}

// line is the job in one line.
func line(p progress) string {
	text := fmt.Sprintf("%-9s %5.1f %%  %d rows written", p.State, p.Percent, p.Resealed)
	if p.State == "running" {
		text += fmt.Sprintf("  %.0f rows/s", p.RowsPerSecond)
		if p.SecondsLeft != nil {
			text += "  " + (time.Duration(*p.SecondsLeft) * time.Second).String() + " left"
		}
	}
	if p.Rate > 0 {
		text += fmt.Sprintf("  at most %d rows/s", p.Rate)
	}
	if p.Unreadable > 0 {
		text += fmt.Sprintf("  %d do not open", p.Unreadable)
	}
	if p.Waiting != "" {
		text += "  waiting: " + p.Waiting
	}
	return text
}

// bar is the line with a bar in front, for a terminal.
func bar(p progress) string {
	const width = 30
	full := min(width, int(p.Percent*width/100))
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "] " + line(p)
}

// look is how often the control plane is asked.
const look = 500 * time.Millisecond

// follow shows the job until it ends or is paused: a bar that is drawn again on a terminal, else a line for
// every new number.
func follow(cmd *cobra.Command, admin *adminclient.Options, p progress) error {
	out := cmd.OutOrStdout()
	terminal, last := isTerminal(out), ""
	ticks := time.NewTicker(look)
	defer ticks.Stop()
	for {
		if terminal {
			_, _ = fmt.Fprint(out, "\r\x1b[K"+bar(p))
		} else if text := line(p); text != last {
			_, _ = fmt.Fprintln(out, text)
			last = text
		}
		if p.ended() || p.State == "paused" {
			break
		}
		select {
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		case <-ticks.C:
		}
		var err error
		if p, err = call(cmd, admin, "GET", path, nil); err != nil {
			return err
		}
	}
	if terminal {
		_, _ = fmt.Fprintln(out)
	}
	return show(cmd, p)
}

// isTerminal: a character device, as a pipe or a file is not.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// show prints the job, the rows that did not open, and the proof. A job that failed is an error.
func show(cmd *cobra.Command, p progress) error {
	say(cmd, "re-encryption %s, to %s: %s", p.ID, p.To, line(p))
	for _, t := range p.Tables {
		for _, u := range t.Unreadable {
			of := ""
			if u.Key != "" {
				of = " (key " + u.Key + ")"
			}
			say(cmd, "%s: %d rows do not open%s: %s; as %s", t.Table, u.Rows, of, u.Reason, strings.Join(u.IDs[:min(5, len(u.IDs))], ", "))
		}
	}
	if p.Proof != nil {
		prove(cmd, p.Proof)
	}
	if p.State == "failed" {
		return fmt.Errorf("the re-encryption failed: %s", p.Reason)
	}
	return nil
}

func prove(cmd *cobra.Command, proof *proof) {
	t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "TABLE\tKEY\tROWS")
	for _, c := range proof.Tables {
		key := c.Key
		if key == "" {
			key = "in clear"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%d\n", c.Table, key, c.Rows)
	}
	_ = t.Flush() // a closed pipe ends the process anyway
	for _, key := range proof.Keys {
		which := ""
		if key.Active {
			which = " (active)"
		}
		say(cmd, "%d rows under key %s%s", key.Rows, key.Key, which)
	}
	say(cmd, "%d rows in clear", proof.Clear)
	switch proof.Ended {
	case "migration":
		say(cmd, "no secret rests in clear any more: set keyring_migrate_plaintext = off, and take identity out of encryption_provider_config")
	case "encryption":
		say(cmd, "nothing sealed is left: set keyring_enabled = off and keyring_decrypt_all = off and leave identity alone in encryption_provider_config on every node, and start again")
	}
	if proof.Files != "" {
		say(cmd, "%s", proof.Files)
	}
}
