package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/keepgate/keepgate/shared/process"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

// Probe asks a running data plane, at its status port, whether it should get traffic.
func Probe(s dpsettings.DataPlane) process.Probe {
	return func(ctx context.Context) error {
		if len(s.StatusListen) == 0 {
			return nil
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.StatusListen[0].Address+"/status/ready", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return fmt.Errorf("asking the status port: %w", err)
		}
		defer response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return nil
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
		if err != nil {
			return fmt.Errorf("asking the status port: %w", err)
		}
		return fmt.Errorf("not ready: %s", strings.TrimSpace(string(body)))
	}
}
