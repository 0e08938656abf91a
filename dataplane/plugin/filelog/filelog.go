// Package filelog is the plugin file-log: it appends a JSON object for each request to a file of this node.
//
// A request appends its record to the buffer of its file and goes on; one goroutine ([Kind.Run]) writes the buffers. A
// buffer is bounded: records that find no room, as when the disk is full, are dropped and counted. Instances
// with the same path share the file.
package filelog

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/logrecord"
	"github.com/keepgate/keepgate/dataplane/plugin"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

const name = "file-log"

// Kind is the plugin.
type Kind struct {
	*logrecord.Describer

	prefix  string
	log     *slog.Logger
	buffers sync.Pool // of *[]byte: records on their way into a file's buffer
	dropped atomic.Uint64
	wake    chan struct{}
	writing sync.Mutex // held while files are written, opened and closed

	mu    sync.Mutex
	files map[string]weak.Pointer[file] // guarded by mu; by path
	full  []*file                       // guarded by mu; with records to write
	spare []*file                       // guarded by writing; the other list, while one is written
	open  map[*file]struct{}            // guarded by writing
}

// New makes the plugin. Relative paths lie below prefix; log hears why records were lost, nil: nobody does.
func New(prefix string, log *slog.Logger) *Kind {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if whole, err := filepath.Abs(prefix); err == nil {
		prefix = whole
	}
	return &Kind{
		Describer: logrecord.NewDescriber(name), prefix: prefix, log: log, wake: make(chan struct{}, 1),
		buffers: sync.Pool{New: func() any { return new([]byte) }},
		files:   map[string]weak.Pointer[file]{}, open: map[*file]struct{}{},
	}
}

// Name implements plugin.Kind.
func (*Kind) Name() string { return name }

// Priority implements plugin.Kind.
func (*Kind) Priority() int { return 9 }

// New implements plugin.Kind. It opens nothing: the first record does.
func (k *Kind) New(config []byte, env plugin.Env) (any, error) {
	var c pluginv1.FileLog
	if err := proto.Unmarshal(config, &c); err != nil {
		return nil, errors.New("configuration cannot be decoded")
	}
	path, err := place(k.prefix, c.GetPath())
	if err != nil {
		return nil, err
	}
	return &instance{kind: k, store: env.Store, file: k.file(path, c.GetReopen())}, nil
}

// file returns the file of a path, which lives as long as an instance uses it or it has records to write.
func (k *Kind) file(path string, reopen bool) *file {
	key := path
	if reopen {
		key += "\x00reopen"
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if known := k.files[key].Value(); known != nil {
		return known
	}
	for other, one := range k.files {
		if one.Value() == nil {
			delete(k.files, other)
		}
	}
	made := &file{path: path, reopen: reopen}
	k.files[key] = weak.Make(made)
	return made
}

// Dropped is how many records were lost.
func (k *Kind) Dropped() uint64 { return k.dropped.Load() }

// instance is one configuration.
type instance struct {
	kind  *Kind
	store int
	file  *file
}

// Log implements plugin.Logger.
func (i *instance) Log(ex *exchange.Exchange, on *plugin.Runtime) {
	known, _ := on.Store(i.store).(*logrecord.Entities)
	buffer := i.kind.buffers.Get().(*[]byte)
	record := append(logrecord.Append((*buffer)[:0], ex, known, on.SecretParameters()), '\n')
	i.kind.take(i.file, record)
	if *buffer = record; cap(record) <= maxRecordKept {
		i.kind.buffers.Put(buffer)
	}
}

// take puts a record into the buffer of its file, unless that is full.
func (k *Kind) take(f *file, record []byte) {
	first, ok := f.add(record)
	if !ok {
		k.dropped.Add(1)
		f.dropped.Add(1)
		return
	}
	if !first {
		return
	}
	k.mu.Lock()
	k.full = append(k.full, f)
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Run implements plugin.Runner: it writes records as they come, and what is left when ctx ends.
func (k *Kind) Run(ctx context.Context) error {
	tick := time.NewTicker(unusedAfter)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-k.wake:
			k.write()
		case <-tick.C:
			k.closeUnused()
		}
	}
	k.write()
	k.closeAll()
	return ctx.Err()
}

// Reopen implements plugin.Reopener: what comes from now on goes to files opened anew.
func (k *Kind) Reopen() error {
	k.write()
	k.closeAll()
	return nil
}
