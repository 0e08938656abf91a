package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"syscall"
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

// refused sends one request until it is answered: the gate reads on for half a second after a refusal, and a client
// that gets no turn in that time finds its connection reset.
func refused(t *testing.T, dp *harness.DataPlane, h http1test.Hostile) {
	for tries := 1; errors.Is(refuse(t, dp, h), syscall.ECONNRESET); tries++ {
		if tries == 10 {
			t.Errorf("%s: %d times no answer but a reset", h.Name, tries)
			return
		}
	}
}

// refuse reports why there was no answer; what is wrong with an answer it tells t.
func refuse(t *testing.T, dp *harness.DataPlane, h http1test.Hostile) error {
	connection, err := net.Dial("tcp", dp.Proxy)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(harness.Patience))
	_, _ = io.WriteString(connection, h.Raw+"\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n") // it may be refused midway
	reader := bufio.NewReader(connection)
	response, err := http.ReadResponse(reader, nil)
	if err != nil && h.Name == "HTTP/2 preface" {
		return nil // the listener closes it without a word, before the engine sees it
	}
	if errors.Is(err, syscall.ECONNRESET) {
		return err
	}
	if err != nil {
		t.Errorf("%s: no answer: %v", h.Name, err)
		return nil
	}
	defer response.Body.Close()
	if response.StatusCode != h.Status {
		t.Errorf("%s: %d, want %d", h.Name, response.StatusCode, h.Status)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		if errors.Is(err, syscall.ECONNRESET) {
			return err
		}
		t.Errorf("%s: reading the refusal: %v", h.Name, err)
	}
	if rest, _ := io.ReadAll(reader); len(rest) > 0 { // that it ends by a reset is as good
		t.Errorf("%s: the connection goes on: %.100q", h.Name, rest)
	}
	return nil
}

// A head that comes line by line and has no end is refused after the minute that a head may take, however busy its
// client keeps the connection; nothing of it reaches the upstream.
func TestSlowHead(t *testing.T) {
	t.Parallel()
	const most = time.Minute
	c := harness.New(t)
	upstream := harness.NewUpstream(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge-1", cp)
	dp.Launch()
	cp.Admin().Push(fmt.Sprintf("_format_version: '3.0'\nservices:\n- {name: s, url: '%s', routes: [{name: r, paths: [/]}]}\n", upstream.URL))
	dp.Await(200, "/")
	upstream.Forget()
	connection, err := net.Dial("tcp", dp.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(most + harness.Patience))
	begun, answered := time.Now(), make(chan struct{})
	var dripping sync.WaitGroup
	dripping.Go(func() {
		_, _ = io.WriteString(connection, "GET / HTTP/1.1\r\nHost: a\r\n") // reading says what came of it
		for i := 0; ; i++ {
			select {
			case <-answered:
				return
			case <-time.After(5 * time.Second):
				_, _ = fmt.Fprintf(connection, "X-%d: a\r\n", i)
			}
		}
	})
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	took := time.Since(begun)
	close(answered)
	dripping.Wait()
	if err != nil {
		t.Fatalf("no answer after %v: %v", took, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusRequestTimeout || !response.Close || took < most-time.Second {
		t.Errorf("%d after %v, closing: %v; want 408 after %v and the connection's end", response.StatusCode, took, response.Close, most)
	}
	if seen := upstream.Seen(); len(seen) != 0 {
		t.Errorf("the upstream saw %d requests", len(seen))
	}
}
