package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// Configurations change under requests of every shape, on every engine: none is lost, none gets another's answer, and
// upstream connections end with the configuration that led to them.
func TestChurn(t *testing.T) {
	t.Parallel()
	for _, on := range []engine{native, standard, http2} {
		t.Run(string(on), func(t *testing.T) {
			t.Parallel()
			churn(t, on)
		})
	}
}

func churn(t *testing.T, on engine) {
	var origins []*origin
	for range 3 {
		o := newOrigin(t)
		o.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("X-Path", r.URL.Path)
			if strings.HasSuffix(r.URL.Path, "slow") {
				w.(http.Flusher).Flush()
				time.Sleep(2 * time.Millisecond)
			}
			_, _ = w.Write(body)
		})
		origins = append(origins, o)
	}
	g := newGatewayOn(t, on, proxy.Options{})
	k := newKeys()
	version := func(n int) []entity {
		list := []entity{
			origins[n%3].service("s", func(m *configv1.Service) { m.Retries = new(int64(n % 4)) }), k.entity(), consumer("alice", "Alice"),
			k.credential("cred", "alice", "the-key"), plug(t, "p", "key-auth", keyAuth()),
			route("r", "s", func(m *configv1.Route) { m.StripPath = new(false) }),
		}
		for i := range n % 50 {
			list = append(list, route(fmt.Sprint("other", i), "s"))
		}
		return list
	}
	g.apply(t, version(0)...)
	var served atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for worker := range 4 {
		wg.Go(func() {
			client := &http.Client{Transport: g.engine.transport()}
			defer client.CloseIdleConnections()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := churnOnce(client, g.url, worker, i); err != nil {
					t.Error(err)
					return
				}
				served.Add(1)
			}
		})
	}
	for n := range 60 {
		for start := time.Now(); served.Load() < int64(4*n) && time.Since(start) < 5*time.Second && !t.Failed(); {
			time.Sleep(100 * time.Microsecond)
		}
		g.apply(t, version(n)...)
	}
	close(stop)
	wg.Wait()
}

// churnOnce sends one request whose answer is its own body.
func churnOnce(client *http.Client, url string, worker, i int) error {
	path := fmt.Sprintf("/r/%d/%d", worker, i)
	if i%7 == 0 {
		path += "slow"
	}
	body := strings.Repeat(fmt.Sprint(worker, ":", i, ";"), []int{0, 1, 100, 30_000}[i%4])
	var reader io.Reader = strings.NewReader(body)
	if i%3 == 0 {
		reader = io.MultiReader(reader) // of unknown length
	}
	request, err := http.NewRequest("POST", url+path, reader)
	if err != nil {
		return err
	}
	request.Header.Set("apikey", "the-key")
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%s lost: %w", path, err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != 200 || string(got) != body || response.Header.Get("X-Path") != path {
		return fmt.Errorf("%s: %d, %d bytes of %d, of %s: %w", path, response.StatusCode, len(got), len(body), response.Header.Get("X-Path"), err)
	}
	return nil
}
