package fleetcmd

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

// Everywhere waits until all data planes of every environment hold what the database holds when it is called, and fails, naming
// those that do not, when the time is over. Progress goes to errors, what was reached to out.
func Everywhere(ctx context.Context, client *adminclient.Client, timeout time.Duration, out, errors io.Writer) error {
	end := time.Now().Add(timeout)
	names, err := environments(ctx, client)
	if err != nil {
		return fmt.Errorf("asking for the environments: %w", err)
	}
	for _, name := range names {
		w := &waiting{client: client, environment: name, percent: 100, errors: errors, passEmpty: true}
		last, err := w.run(ctx, end)
		switch {
		case err != nil:
			return err
		case !last.enough(w.percent) && !w.empty(last):
			return w.late(errors, last, timeout)
		}
		if _, err := fmt.Fprintln(out, w.line(last)); err != nil {
			return err
		}
	}
	return nil
}

// environments are the names of all, page by page.
func environments(ctx context.Context, client *adminclient.Client) (names []string, err error) {
	query := url.Values{"size": {"1000"}}
	for {
		var page struct {
			Data   []struct{ Name string }
			Offset string
		}
		if err := client.Call(ctx, "GET", "/environments?"+query.Encode(), "", nil, &page); err != nil {
			return nil, err
		}
		for _, one := range page.Data {
			names = append(names, one.Name)
		}
		if page.Offset == "" {
			return names, nil
		}
		query.Set("offset", page.Offset)
	}
}

// empty reports whether there is nobody to wait for, where that is no fault.
func (w *waiting) empty(c count) bool { return w.passEmpty && c.ready && c.all == 0 }
