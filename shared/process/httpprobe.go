package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// HTTPProbe asks a URL; any status but 200 means not ready, and the body says why. The URL is of this machine: no proxy is asked for it,
// whatever the environment says, and nobody is followed elsewhere.
func HTTPProbe(url string) Probe {
	return func(ctx context.Context) error {
		client := &http.Client{
			Transport:     &http.Transport{DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
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
		var said struct{ Message string }
		if json.Unmarshal(body, &said) == nil && said.Message != "" {
			return errors.New(said.Message)
		}
		return fmt.Errorf("status %d: %s", response.StatusCode, strings.TrimSpace(string(body)))
	}
}
