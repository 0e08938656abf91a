package exchange

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func fields(h *Header) (list []string) {
	for name, value := range h.All() {
		list = append(list, name+": "+value)
	}
	return list
}

func TestHeader(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*Header)
		want   []string
	}{
		"order and spelling stay": {func(*Header) {}, []string{"A: 1", "b: 2", "a: 3", "X_Consumer_ID: 4", "X-Consumer-Name: 5"}},
		"Set replaces all":        {func(h *Header) { h.Set("A", "9") }, []string{"A: 9", "b: 2", "X_Consumer_ID: 4", "X-Consumer-Name: 5"}},
		"Set appends":             {func(h *Header) { h.Set("C", "9") }, []string{"A: 1", "b: 2", "a: 3", "X_Consumer_ID: 4", "X-Consumer-Name: 5", "C: 9"}},
		"Del":                     {func(h *Header) { h.Del("a") }, []string{"b: 2", "X_Consumer_ID: 4", "X-Consumer-Name: 5"}},
		"Del is exact":            {func(h *Header) { h.Del("x-consumer-id") }, []string{"A: 1", "b: 2", "a: 3", "X_Consumer_ID: 4", "X-Consumer-Name: 5"}},
		"DelLoose":                {func(h *Header) { h.DelLoose("x-consumer-id") }, []string{"A: 1", "b: 2", "a: 3", "X-Consumer-Name: 5"}},
		"DelPrefix":               {func(h *Header) { h.DelPrefix("x-consumer-") }, []string{"A: 1", "b: 2", "a: 3"}},
		"DelFunc":                 {func(h *Header) { h.DelFunc(func(_, v string) bool { return v > "1" }) }, []string{"A: 1"}},
		"no line can be split": {func(h *Header) {
			h.Reset()
			h.Set("A", " x\r\nInjected: y\x00 ")
			h.Add("B\r\nC", "z")
			h.Add("", "z")
			h.Set("D:", "z")
		}, []string{"A: x  Injected: y"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h Header
			for _, f := range []Field{{"A", "1"}, {"b", "2"}, {"a", "3"}, {"X_Consumer_ID", "4"}, {"X-Consumer-Name", "5"}} {
				h.AddParsed(f.Name, f.Value)
			}
			test.change(&h)
			if diff := cmp.Diff(test.want, fields(&h)); diff != "" {
				t.Fatal(diff)
			}
		})
	}
	var h Header
	h.Add("A", "1")
	h.Add("a", "2")
	if v, ok := h.Lookup("A"); v != "1" || !ok || h.Count("a") != 2 || h.Has("b") || h.Get("b") != "" {
		t.Fatal(fields(&h))
	}
}

func TestReuse(t *testing.T) {
	t.Parallel()
	var pool Pool
	ex := pool.Take()
	id := strings.Clone(ex.ID())
	if id != ex.ID() || len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
		t.Fatalf("ID %q", id)
	}
	ex.Start = time.Now()
	ex.Request.Header.Add("A", ex.Join("x", "y"))
	ex.Request.Method, ex.Request.Upgrade = "GET", "websocket"
	ex.Response.Header.Add("A", "x")
	ex.Consumer = Consumer{ID: "c", CredentialID: "k"}
	ex.Route, ex.Service, ex.Client = 1, 2, nil
	ex.NeedSlots(3)
	ex.SetSlot(2, "left")
	ex.Mark(Done)
	ex.Sent.Err = io.EOF
	stream := &closer{}
	ex.Response.Stream = stream
	pool.Give(ex)
	if !stream.closed {
		t.Error("the stream was left open")
	}
	if ex.ID() == id || ex.Request.Header.Len() != 0 || ex.Response.Header.Len() != 0 || ex.Request.Method != "" || ex.Request.Upgrade != "" ||
		ex.Consumer.ID != "" || ex.Route != nil || ex.Service != nil || ex.MarkOf(Done) != 0 || ex.Sent.Err != nil || ex.Slot(2) != nil ||
		ex.Request.Body != NoBody || !ex.Start.IsZero() || ex.Answered() {
		t.Errorf("something was left: %+v", ex)
	}
	ex.NeedSlots(3)
	if ex.Slot(2) != nil {
		t.Error("a slot was left")
	}
}

type closer struct{ closed bool }

func (*closer) Read([]byte) (int, error) { return 0, io.EOF }

func (c *closer) Close() error { c.closed = true; return nil }

func TestArenaViewsStayValid(t *testing.T) {
	t.Parallel()
	ex := new(Pool).Take()
	var views []string
	for i := range 3000 {
		views = append(views, ex.Copy([]byte(strings.Repeat(string(rune('a'+i%26)), i%50))))
	}
	for i, v := range views {
		if v != strings.Repeat(string(rune('a'+i%26)), i%50) {
			t.Fatalf("view %d is %q", i, v)
		}
	}
	b := ex.Bytes(4)
	if _ = append(b, "beyond"...); cap(b) != 4 {
		t.Fatal("appending to bytes of the arena could write over the next ones")
	}
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	ex := new(Pool).Take()
	ex.Response.Header.Set("Access-Control-Allow-Origin", "*")
	ex.Response.Header.Set("Content-Type", "x")
	ex.Answer(401, "application/json", []byte("{}"))
	if ex.Response.Status != 401 || ex.Response.Origin != Gateway || ex.Response.ContentLength != 2 {
		t.Fatalf("%+v", ex.Response)
	}
	if diff := cmp.Diff([]string{"Access-Control-Allow-Origin: *", "Content-Type: application/json"}, fields(&ex.Response.Header)); diff != "" {
		t.Fatal(diff)
	}
	stream := &closer{}
	ex.Response.Origin, ex.Response.Stream = Upstream, stream
	ex.Response.Header.Set("Set-Cookie", "from=upstream")
	ex.Answer(502, "", nil)
	if !stream.closed || ex.Response.Stream != nil || ex.Response.Header.Len() != 0 || ex.Response.Origin != Gateway {
		t.Fatalf("what the upstream said is left: %+v", ex.Response)
	}
}

func TestBufferBody(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		size, announced int64
		limit           int64
		want            error
	}{
		"fits":                 {5000, 5000, 5000, nil},
		"unknown length":       {5000, -1, 10_000, nil},
		"empty":                {0, -1, 10, nil},
		"announced too large":  {11, 11, 10, ErrBodyTooLarge},
		"turns out too large":  {11, -1, 10, ErrBodyTooLarge},
		"far beyond the limit": {1 << 20, -1, 10, ErrBodyTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ex := new(Pool).Take()
			want := strings.Repeat("x", int(test.size))
			ex.Request.Body, ex.Request.ContentLength = strings.NewReader(want), test.announced
			got, err := ex.BufferBody(test.limit)
			if err != test.want || err == nil && string(got) != want {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if err != nil {
				return
			}
			for range 2 {
				if again, err := io.ReadAll(ex.Request.Body); err != nil || string(again) != want || ex.Request.ContentLength != test.size {
					t.Fatalf("%d bytes again, %v", len(again), err)
				}
				if !ex.Rewind() {
					t.Fatal("cannot rewind")
				}
			}
		})
	}
	ex := new(Pool).Take()
	ex.Request.Body, ex.Request.ContentLength = strings.NewReader("x"), 1
	if ex.Rewind() {
		t.Fatal("a body that was not buffered can be sent twice")
	}
}

func TestABodyThatWasReplacedIsNotShownAgain(t *testing.T) {
	t.Parallel()
	pool := new(Pool)
	ex := pool.Take()
	ex.Request.Body, ex.Request.ContentLength = strings.NewReader("apikey=hidden&b=2"), 17
	if _, err := ex.BufferBody(100); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"b=2", ""} {
		ex.SetBody([]byte(want))
		if got, err := ex.BufferBody(100); err != nil || string(got) != want {
			t.Errorf("BufferBody after SetBody(%q) = %q, %v", want, got, err)
		}
		if got, err := io.ReadAll(ex.Request.Body); err != nil || string(got) != want {
			t.Errorf("Body after SetBody(%q) = %q, %v", want, got, err)
		}
	}
	foreign := []byte("not the exchange's own")
	ex.SetBody(foreign)
	pool.Give(ex)
	ex = pool.Take()
	ex.Request.Body, ex.Request.ContentLength = strings.NewReader("next"), 4
	if got, err := ex.BufferBody(100); err != nil || string(got) != "next" || string(foreign) != "not the exchange's own" {
		t.Errorf("the next exchange has %q, %v, and left %q", got, err, foreign)
	}
}

func TestMarks(t *testing.T) {
	t.Parallel()
	ex := new(Pool).Take()
	ex.Start = time.Now()
	if ex.Since(Done) != 0 || ex.Between(UpstreamStart, Done) != 0 {
		t.Fatal("time without a mark")
	}
	ex.Mark(UpstreamStart)
	time.Sleep(time.Millisecond)
	ex.Mark(Done)
	if d := ex.Between(UpstreamStart, Done); d < time.Millisecond || ex.Since(Done) < d || ex.Since(Done) > time.Minute {
		t.Fatalf("%v between, %v since the start", d, ex.Since(Done))
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	for host, want := range map[string][2]string{
		"a": {"a", ""}, "a:1": {"a", "1"}, "[::1]": {"::1", ""}, "[::1]:80": {"::1", "80"}, "": {"", ""},
	} {
		r := Request{Host: host}
		if got := [2]string{r.Hostname(), r.Port()}; got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	var pool Pool
	if poison {
		t.Skip("the race detector allocates")
	}
	run := func() {
		ex := pool.Take()
		ex.NeedSlots(4)
		ex.Request.Header.AddParsed("A", ex.Join("a", "b"))
		ex.Request.Header.Set("B", ex.ID())
		ex.Request.Header.DelPrefix("x-consumer-")
		ex.Answer(200, "text/plain", nil)
		pool.Give(ex)
	}
	run()
	if n := testing.AllocsPerRun(1000, run); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
