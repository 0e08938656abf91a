package process_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/process"
)

// What a start says is what its operator has to know: that it is not ready, why, and what the log warns of.
func TestStartSaysWhatIsNotRight(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	if out := s.must("start"); !strings.Contains(out, "sample started (pid ") || strings.Contains(out, "not ready") || strings.Contains(out, "level=") {
		t.Errorf("a start without trouble said %q", out)
	}
	s.must("stop")
	if err := os.WriteFile(filepath.Join(s.place.Prefix, "ill"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out := s.must("start", "--mode=warn")
	for _, want := range []string{"), but not ready: it feels ill; log " + s.place.LogFile(), "msg=beware n=0\n", "msg=beware n=4\n", "… and more in "} {
		if !strings.Contains(out, want) {
			t.Errorf("start said %q, want %q in it", out, want)
		}
	}
	if strings.Contains(out, "n=5") || strings.Contains(out, "quiet") {
		t.Errorf("start said too much: %q", out)
	}
}

func TestMessagesNameWholePaths(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := command(&out, "stop", "--prefix", "./not-there").Execute()
	folder, _ := filepath.Abs("not-there")
	if err == nil || !strings.Contains(err.Error(), " in "+folder+": ") {
		t.Errorf("stop = %v, want the path %s", err, folder)
	}
}

func TestHTTPProbeGivesTheReason(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status     int
		body, want string
	}{
		"ready":           {200, `{"message":"ready"}`, ""},
		"with a message":  {503, `{"message":"no configuration yet"}`, "no configuration yet"},
		"of another kind": {500, "oops\n", "status 500: oops"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			}))
			defer server.Close()
			err := process.HTTPProbe(server.URL)(t.Context())
			if got := fmt.Sprint(err); test.want == "" && err != nil || test.want != "" && got != test.want {
				t.Errorf("the probe said %v, want %q", err, test.want)
			}
		})
	}
}
