package proxy

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// source is an upstream's response that tells how far it was read.
type source struct {
	body    *bytes.Reader
	fails   error
	pause   time.Duration // before each read, but for the first
	reads   int
	closed  bool
	aborted chan struct{}
}

func newSource(size int) *source {
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(i * 7)
	}
	return &source{body: bytes.NewReader(body), aborted: make(chan struct{})}
}

func (s *source) Read(p []byte) (int, error) {
	if s.reads++; s.reads > 1 {
		select {
		case <-s.aborted:
			return 0, io.ErrUnexpectedEOF
		case <-time.After(s.pause):
		}
	}
	n, err := s.body.Read(p[:min(len(p), 16<<10)])
	if err == io.EOF && s.fails != nil {
		err = s.fails
	}
	return n, err
}
func (s *source) Close() error { s.closed = true; return nil }
func (s *source) Abort()       { close(s.aborted) }

func newAhead(inner io.ReadCloser, held *budget) *ahead {
	a := &ahead{inner: inner, held: held}
	a.change.L = &a.mu
	return a
}

// A slow client does not hold the upstream for longer than what fits takes to read.
func TestReadAhead(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		size  int
		fails error
		held  int64
		early bool // the upstream is free while the client still has most to read
	}{
		"fits":               {200 << 10, nil, 0, true},
		"is longer":          {2 << 20, nil, 0, false},
		"no memory for it":   {200 << 10, nil, allHeld, false},
		"breaks off":         {200 << 10, io.ErrUnexpectedEOF, 0, false},
		"is one read":        {1 << 10, nil, 0, true},
		"has nothing at all": {0, nil, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				inner, held := newSource(test.size), &budget{}
				inner.fails = test.fails
				held.taken.Store(test.held)
				a := newAhead(inner, held)
				var got []byte
				p := make([]byte, 10<<10)
				for first := true; ; first = false {
					n, err := a.Read(p)
					got = append(got, p[:n]...)
					if err == io.EOF && test.fails == nil || errors.Is(err, io.ErrUnexpectedEOF) && test.fails != nil {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(2 * slowClient) // the client takes its time
					synctest.Wait()
					if first && inner.closed != test.early {
						t.Fatalf("the upstream is free: %v", inner.closed)
					}
				}
				if want := newSource(test.size); !sameBytes(want.body, got) {
					t.Fatalf("%d bytes of %d, or others", len(got), test.size)
				}
				if err := a.Close(); err != nil || !inner.closed {
					t.Fatalf("closed: %v, %v", inner.closed, err)
				}
				if held.taken.Load() != test.held {
					t.Fatalf("%d bytes of the budget are not given back", held.taken.Load()-test.held)
				}
			})
		})
	}
}

func sameBytes(want io.Reader, got []byte) bool {
	all, _ := io.ReadAll(want)
	return bytes.Equal(all, got)
}

// A client that leaves ends the reading ahead, even while the upstream is silent.
func TestReadAheadEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner, held := newSource(1<<20), &budget{}
		inner.pause = time.Hour
		a := newAhead(inner, held)
		if _, err := a.Read(make([]byte, 1<<10)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * slowClient)
		synctest.Wait()
		start := time.Now()
		if err := a.Close(); err != nil || !inner.closed || time.Since(start) > 0 {
			t.Fatalf("closed: %v, %v, after %v", inner.closed, err, time.Since(start))
		}
		a.Abort() // late: nothing to abort any more
		if held.taken.Load() != 0 {
			t.Fatal("the budget is not given back")
		}
	})
}

// A fast client costs no goroutine and no memory.
func TestReadAheadLeavesFastClientsAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner, held := newSource(1<<20), &budget{}
		inner.pause = time.Minute // it is the upstream that is slow
		a := newAhead(inner, held)
		p := make([]byte, 16<<10)
		for {
			_, err := a.Read(p)
			a.mu.Lock()
			taken := a.taken
			a.mu.Unlock()
			if taken || held.taken.Load() != 0 {
				t.Fatal("read ahead of a client that was not slow")
			}
			if err == io.EOF {
				break
			}
		}
		_ = a.Close()
	})
}

// What has served a response serves another one, once nobody can ask it for the first any more.
func TestAheadIsUsedAgain(t *testing.T) {
	t.Parallel()
	a := new(ahead)
	a.change.L = &a.mu
	for range 3 {
		inner := newSource(100 << 10)
		a.begin(inner, new(budget))
		if a.end() {
			t.Fatal("given back while it is open")
		}
		got, err := io.ReadAll(a)
		if err != nil || len(got) != 100<<10 || got[1] != 7 {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if err := a.Close(); err != nil || !inner.closed {
			t.Fatalf("%v, closed %v", err, inner.closed)
		}
		if err := a.Close(); err != nil { // as careless wrappers do
			t.Fatal(err)
		}
		if !a.end() {
			t.Fatal("not given back")
		}
	}
}
