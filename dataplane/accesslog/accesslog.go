// Package accesslog writes one line a request.
//
// Lines are appended by an encoder of its own into a few buffers, one of which is nearly always free, so that
// writing costs neither an allocation nor a wait. [Log.Run] empties the buffers every second; a full one is
// written by the request that fills it. When the file cannot be written lines are dropped and counted: a full
// disk does not stop traffic.
//
// No line shows a secret: user information and the values of query parameters that plugins take keys from
// appear as REDACTED, credentials by their ids, headers not at all but for Referer and User-Agent.
package accesslog

import (
	"bytes"
	"context"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/shared/fault"
)

// Format is the form of a line.
type Format uint8

const (
	Common Format = iota // as nginx's combined, with the request's id: what Kong writes
	JSON                 // one object a line
)

const (
	bufferSize = 64 << 10
	lineRoom   = 8 << 10 // a buffer with less room is written first
	flushEvery = time.Second
)

// Log is an access log. It is safe for concurrent use.
type Log struct {
	format Format
	path   string // "" when the writer is not a file of ours

	mu   sync.RWMutex // held for reading while a buffer is written
	out  io.Writer    // guarded by mu
	file *os.File     // guarded by mu; out when it is ours

	shards  []shard
	turn    atomic.Uint32
	dropped atomic.Uint64
	ended   atomic.Bool // Run has returned: nobody empties the buffers any more
	clock   atomic.Pointer[second]
}

// shard is one buffer. The padding keeps its lock out of its neighbour's cache line.
type shard struct {
	mu     sync.Mutex
	buffer []byte // guarded by mu
	_      [64]byte
}

// Open makes a Log that appends to the file at path, made with mode 0640 when there is none.
func Open(path string, format Format) (*Log, error) {
	l := newLog(format)
	l.path = path
	if err := l.Reopen(); err != nil {
		return nil, err
	}
	return l, nil
}

// New makes a Log that writes to w, which must be safe for concurrent use.
func New(w io.Writer, format Format) *Log {
	l := newLog(format)
	l.out = w
	return l
}

func newLog(format Format) *Log {
	l := &Log{format: format, shards: make([]shard, 2*runtime.GOMAXPROCS(0))}
	for i := range l.shards {
		l.shards[i].buffer = make([]byte, 0, bufferSize)
	}
	return l
}

// Reopen opens the file anew, after it was moved away.
func (l *Log) Reopen() error {
	if l.path == "" {
		return nil
	}
	file, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640) // the operator's choice
	if err != nil {
		return fault.New(fault.Unavailable, "accesslog.Reopen", "proxy_access_log", err)
	}
	l.Flush()
	l.mu.Lock()
	old := l.file
	l.file, l.out = file, file
	l.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
	return nil
}

// Run writes what is buffered every second until ctx ends, and then once more. The lines of requests that end later, while
// the listeners drain, are written at once.
func (l *Log) Run(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.Flush()
		case <-ctx.Done():
			l.ended.Store(true)
			l.Flush()
			return ctx.Err()
		}
	}
}

// Flush writes what is buffered.
func (l *Log) Flush() {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		l.empty(s)
		s.mu.Unlock()
	}
}

// Dropped is how many lines could not be written.
func (l *Log) Dropped() uint64 { return l.dropped.Load() }

// Write appends the line of a finished exchange. secret names the query parameters whose values are not shown;
// upstream is the address that it was sent to, "" for none.
func (l *Log) Write(ex *exchange.Exchange, secret []string, upstream string) {
	s := l.free()
	defer s.mu.Unlock()
	if cap(s.buffer)-len(s.buffer) < lineRoom {
		l.empty(s)
	}
	r := record{ex: ex, secret: secret, upstream: upstream, at: l.now(ex)}
	if l.format == JSON {
		s.buffer = r.appendJSON(s.buffer)
	} else {
		s.buffer = r.appendCommon(s.buffer)
	}
	if l.ended.Load() {
		l.empty(s)
	}
}

// free locks a shard that nobody uses, or waits for one.
func (l *Log) free() *shard {
	start := l.turn.Add(1)
	for i := range uint32(len(l.shards)) {
		if s := &l.shards[(start+i)%uint32(len(l.shards))]; s.mu.TryLock() {
			return s
		}
	}
	s := &l.shards[start%uint32(len(l.shards))]
	s.mu.Lock()
	return s
}

// empty writes a shard's buffer. s.mu is held.
func (l *Log) empty(s *shard) {
	if len(s.buffer) == 0 {
		return
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.out != nil {
		if _, err := l.out.Write(s.buffer); err != nil {
			l.dropped.Add(uint64(bytes.Count(s.buffer, []byte{'\n'})))
		}
	}
	if cap(s.buffer) > 2*bufferSize { // a line of unusual length made it grow
		s.buffer = make([]byte, 0, bufferSize)
	}
	s.buffer = s.buffer[:0]
}

// second is a moment as it is shown, made once a second.
type second struct {
	unix         int64
	common, json string
}

func (l *Log) now(ex *exchange.Exchange) *second {
	now := ex.At(ex.Moment())
	if s := l.clock.Load(); s != nil && s.unix == now.Unix() {
		return s
	}
	s := &second{now.Unix(), now.Format("02/Jan/2006:15:04:05 -0700"), now.UTC().Format(time.RFC3339)}
	l.clock.Store(s)
	return s
}
