package fleetcmd

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

// Everywhere waits until all data planes of every environment hold what the database holds when it is called, and fails, naming
// those that do not, when the time is over. Progress goes to errors, what was reached to out.
func Everywhere(ctx context.Context, client *adminclient.Client, timeout time.Duration, out, errors io.Writer) error {
	end := time.Now().Add(timeout)
	var list struct {
		Data []struct{ Name string }
	}
	if err := client.Call(ctx, "GET", "/environments?size=1000", "", nil, &list); err != nil {
		return fmt.Errorf("asking for the environments: %w", err)
	}
	for _, environment := range list.Data {
		w := &waiting{client: client, environment: environment.Name, percent: 100, errors: errors, passEmpty: true}
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

// empty reports whether there is nobody to wait for, where that is no fault.
func (w *waiting) empty(c count) bool { return w.passEmpty && c.ready && c.all == 0 }
