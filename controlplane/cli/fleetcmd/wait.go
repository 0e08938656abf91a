package fleetcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

const waitLong = `Waits until enough data planes of an environment hold a version of its configuration, and exits with status 0; with status 1 when
the time is over, naming those that do not.

"newest" is the newest version when the command starts: what was written before it is in it, what is written later is not waited
for. Data planes that are away count like the others, those that were revoked or replaced do not.

  keepgate-cp config push keepgate.yaml && keepgate-cp fleet wait --environment prod --percent 95`

const (
	pollEvery = 500 * time.Millisecond
	// restFactor is how much longer than asking took nothing is asked: a large fleet is much to read.
	restFactor = 4
	// lookPatience is how long a last look may take.
	lookPatience = 30 * time.Second
	// maxNamed is how many of those that are missing are named.
	maxNamed = 100
)

// waiting is one `fleet wait`.
type waiting struct {
	client      *adminclient.Client
	environment string
	percent     float64
	want        position // of which the version is asked for, or none yet
	asked       bool     // for a version by number
	newest      position // by now
	revision    uint64   // of the database when the command began
	errors      io.Writer
	said        string // the last line of progress
	passEmpty   bool   // an environment without data planes is nothing to wait for
}

func waitCommand(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "wait", Short: "wait until data planes hold a version", Long: waitLong, Args: cobra.NoArgs, SilenceUsage: true,
	}
	var environment, version string
	var percent float64
	var timeout time.Duration
	cmd.Flags().StringVar(&environment, "environment", "default", "whose data planes are waited for")
	cmd.Flags().StringVar(&version, "version", "newest", "the version to wait for: a number, or newest")
	cmd.Flags().Float64Var(&percent, "percent", 100, "how many of the data planes must hold it")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "for how long to wait")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		w := &waiting{environment: environment, percent: percent, errors: cmd.ErrOrStderr()}
		if err := w.demand(version, timeout); err != nil {
			return err
		}
		var err error
		if w.client, err = admin.Open(); err != nil {
			return err
		}
		last, err := w.run(cmd.Context(), time.Now().Add(timeout))
		switch {
		case err != nil:
			return err
		case last.enough(percent):
			_, err = fmt.Fprintln(cmd.OutOrStdout(), w.line(last))
			return err
		}
		return w.late(cmd.ErrOrStderr(), last, timeout)
	}
	return cmd
}

// demand takes what the flags say.
func (w *waiting) demand(version string, timeout time.Duration) error {
	if !(w.percent > 0 && w.percent <= 100) {
		return errors.New("--percent must be more than 0 and at most 100")
	}
	if timeout <= 0 {
		return errors.New("--timeout must be a time, as 5m")
	}
	if version == "newest" {
		return nil
	}
	number, err := strconv.ParseUint(version, 10, 64)
	if err != nil || number == 0 {
		return fmt.Errorf("--version %q is neither a number nor newest", version)
	}
	w.asked, w.want.Version = true, number
	return nil
}

// run asks until enough hold it or the time is over, and returns what was true last. However short the time is, it looks once.
func (w *waiting) run(ctx context.Context, end time.Time) (last count, err error) {
	if err := known(ctx, w.client, w.environment); err != nil {
		return last, err
	}
	for {
		began := time.Now()
		now, err := w.look(ctx, end)
		switch refusal, refused := errors.AsType[*adminclient.Refusal](err); {
		case ctx.Err() != nil:
			return last, ctx.Err()
		case refused && refusal.Status < http.StatusInternalServerError:
			return last, err
		case err != nil: // it may be starting anew
			w.progress(err.Error())
		default:
			last = now
		}
		left := time.Until(end)
		if last.enough(w.percent) || w.empty(last) || left <= 0 {
			return last, nil // what is said last says it
		}
		if err == nil {
			w.progress(w.line(last))
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(left, max(pollEvery, restFactor*time.Since(began)))):
		}
	}
}

// look counts, and takes a while for that after the time is over too.
func (w *waiting) look(ctx context.Context, end time.Time) (count, error) {
	ctx, cancel := context.WithDeadline(ctx, end.Add(lookPatience))
	defer cancel()
	return w.count(ctx)
}

// known refuses an environment that is not there. Who may not read environments is not told.
func known(ctx context.Context, client *adminclient.Client, environment string) error {
	err := client.Call(ctx, "GET", "/environments/"+url.PathEscape(environment), "", nil, nil)
	if refusal, ok := errors.AsType[*adminclient.Refusal](err); ok {
		switch refusal.Status {
		case http.StatusNotFound:
			return fmt.Errorf("there is no environment %q; keepgate-cp environments list shows them", environment)
		case http.StatusForbidden:
			return nil
		}
	}
	return err
}

// count is how many data planes hold what is waited for.
type count struct {
	ready          bool // it is known what is waited for
	all, hold      int
	refuse, absent int
	missing        []plane
}

func (c count) percent() float64 { return 100 * float64(c.hold) / float64(max(c.all, 1)) }

func (c count) enough(percent float64) bool { return c.ready && c.all > 0 && c.percent() >= percent }

func (w *waiting) count(ctx context.Context) (c count, err error) {
	err = each(ctx, w.client, filters{environment: w.environment}.query(), func(p page, planes []plane) error {
		if !c.ready && !w.settle(p) {
			return errBehind
		}
		c.ready = true
		for _, d := range planes {
			switch {
			case d.Revoked, d.Replaced:
				continue
			case w.held(d):
				c.hold++
			default:
				c.missing = append(c.missing, d)
				if d.SyncStatus == "refused" {
					c.refuse++
				}
				if d.Away {
					c.absent++
				}
			}
			c.all++
		}
		return nil
	})
	if err == errBehind {
		err = nil
	}
	return c, err
}

// errBehind: this control plane node has not read as far as the database was.
var errBehind = errors.New("not read as far")

// settle finds out what is waited for, once the control plane shows what the database held when the command began.
func (w *waiting) settle(p page) bool {
	if w.revision == 0 {
		w.revision = p.Revision.Database
	}
	if p.Newest == nil || p.Revision.Published < w.revision {
		return false
	}
	w.newest = *p.Newest
	switch {
	case w.want.Epoch > 0:
	case w.asked:
		w.want.Epoch = p.Newest.Epoch
	default:
		w.want = *p.Newest
	}
	return true
}

// held reports whether a data plane holds the version, or a later one, or the same under another number: a version that
// changes nothing is not sent.
func (w *waiting) held(d plane) bool {
	if d.Epoch != w.want.Epoch {
		return d.Epoch > w.want.Epoch
	}
	return d.ConfigVersion >= w.want.Version || d.ConfigHash != "" &&
		(d.ConfigHash == w.want.Hash || d.ConfigHash == w.newest.Hash && w.newest.Epoch == d.Epoch && w.newest.Version >= w.want.Version)
}

// line says how many hold it.
func (w *waiting) line(c count) string {
	if !c.ready {
		return "the control plane has not read its database as far yet"
	}
	if c.all == 0 {
		return "no data plane of " + w.environment + " is known"
	}
	text := fmt.Sprintf("%d of %d data planes of %s (%.1f %%) hold version %d", c.hold, c.all, w.environment, c.percent(), w.want.Version)
	if c.refuse > 0 {
		text += fmt.Sprintf(", refused by %d", c.refuse)
	}
	if c.absent > 0 {
		text += fmt.Sprintf(", %d away", c.absent)
	}
	return text
}

// progress says so whenever something changed.
func (w *waiting) progress(line string) {
	if line != w.said {
		w.said = line
		fmt.Fprintln(w.errors, line)
	}
}

// late names those that do not hold it.
func (w *waiting) late(out io.Writer, c count, timeout time.Duration) error {
	for i, d := range c.missing {
		if i == maxNamed {
			fmt.Fprintf(out, "  and %d more\n", len(c.missing)-maxNamed)
			break
		}
		state := d.link()
		if d.Away {
			state += ", last seen " + ago(d.LastSeen)
		}
		if d.Refusal != "" {
			state += ", refused: " + printable(d.Refusal)
		}
		fmt.Fprintf(out, "  missing: %s (%s) holds %s; %s\n", printable(d.Name), d.ID, d.holds(), state)
	}
	line := w.line(c)
	if !c.ready && w.said != "" { // which may be why nobody answered
		line = w.said
	}
	return fmt.Errorf("after %s: %s; %g %% were asked for", timeout, line, w.percent)
}
