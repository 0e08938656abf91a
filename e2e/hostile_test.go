package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/http1/http1test"
	"github.com/keepgate/keepgate/e2e/harness"
)

// Every hostile request of the engine's own corpus, sent to the real data plane with a request smuggled behind it:
// each is refused, its connection ends, and no whole request of it reaches the upstream.
func TestHostileBytesNeverReachTheUpstream(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	upstream := harness.NewUpstream(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge-1", cp)
	dp.Launch()
	cp.Admin().Push(fmt.Sprintf("_format_version: '3.0'\nservices:\n- {name: s, url: '%s', routes: [{name: r, paths: [/]}]}\n", upstream.URL))
	dp.Await(200, "/")
	upstream.Forget()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	cases := http1test.ReadHostile(t, filepath.Join(root, "dataplane", "http1", "testdata", "hostile.txt"))
	cases = append(cases, http1test.Oversized()...)
	if len(cases) < 50 {
		t.Fatalf("only %d cases", len(cases))
	}
	var wg sync.WaitGroup
	for _, h := range cases {
		if h.Status != 200 {
			wg.Go(func() { refused(t, dp, h) })
		}
	}
	wg.Wait()
	for _, seen := range upstream.Seen() {
		if seen.Whole { // a head whose body then breaks off has done no harm
			t.Errorf("the upstream saw %s %s", seen.Method, seen.URI)
		}
	}
	if answer := dp.MustGet("/after"); answer.Status != 200 {
		t.Errorf("afterwards: %d", answer.Status)
	}
}

func refused(t *testing.T, dp *harness.DataPlane, h http1test.Hostile) {
	connection, err := net.Dial("tcp", dp.Proxy)
	if err != nil {
		t.Error(err)
		return
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(harness.Patience))
	_, _ = io.WriteString(connection, h.Raw+"\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n") // it may be refused midway
	reader := bufio.NewReader(connection)
	response, err := http.ReadResponse(reader, nil)
	if err != nil && h.Name == "HTTP/2 preface" {
		return // the listener closes it without a word, before the engine sees it
	}
	if err != nil {
		t.Errorf("%s: no answer: %v", h.Name, err)
		return
	}
	defer response.Body.Close()
	if response.StatusCode != h.Status {
		t.Errorf("%s: %d, want %d", h.Name, response.StatusCode, h.Status)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Errorf("%s: reading the refusal: %v", h.Name, err)
	}
	if rest, _ := io.ReadAll(reader); len(rest) > 0 { // that it ends by a reset is as good
		t.Errorf("%s: the connection goes on: %.100q", h.Name, rest)
	}
}
