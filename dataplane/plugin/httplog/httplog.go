// Package httplog is the plugin http-log: it sends a record of each request to an HTTP server.
//
// A request appends its record to a queue (queue.go) and goes on. A queue that has records has a sender (sender.go), which
// ends when nothing came for a while, so that a configuration that is gone leaves nothing behind once its records
// are sent or given up. What the endpoint is and what is sent to it besides records is secret: errors name the plugin's entity.
package httplog

import (
	"context"
	"crypto/x509"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/logrecord"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

const name = "http-log"

// Options is what the plugin takes from the process.
type Options struct {
	Roots *x509.CertPool // authorities that endpoints are verified against; nil: the system's
	Log   *slog.Logger   // hears why records were lost; nil: nobody does
	Drain time.Duration  // how long what waits may take to be sent when the gate stops; default 5 s
	Grace time.Duration  // and when its configuration is gone; default 1 min
}

// Kind is the plugin.
type Kind struct {
	*logrecord.Describer

	options Options
	buffers sync.Pool // of *[]byte: records
	dropped atomic.Uint64

	mu      sync.Mutex
	running bool           // guarded by mu
	early   []*queue       // guarded by mu; those that had records before Run
	senders sync.WaitGroup // grows under mu while running
	sending context.Context
	closing chan struct{} // closed when senders have to finish
}

// New makes the plugin.
func New(options Options) *Kind {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Drain <= 0 {
		options.Drain = 5 * time.Second
	}
	if options.Grace <= 0 {
		options.Grace = time.Minute
	}
	return &Kind{
		Describer: logrecord.NewDescriber(name), options: options, closing: make(chan struct{}),
		buffers: sync.Pool{New: func() any { return new([]byte) }},
	}
}

// Name implements plugin.Kind.
func (*Kind) Name() string { return name }

// Priority implements plugin.Kind.
func (*Kind) Priority() int { return 12 }

// New implements plugin.Kind.
func (k *Kind) New(config []byte, env plugin.Env) (any, error) {
	c, err := parse(config)
	if err != nil {
		return nil, err
	}
	c.id = env.ID
	q := newQueue(k, c)
	i := &instance{kind: k, store: env.Store, queue: q}
	runtime.AddCleanup(i, (*queue).retire, q)
	return i, nil
}

// Dropped is how many records were lost.
func (k *Kind) Dropped() uint64 { return k.dropped.Load() }

// instance is one configuration.
type instance struct {
	kind  *Kind
	store int
	queue *queue
}

// Log implements plugin.Logger.
func (i *instance) Log(ex *exchange.Exchange, on *plugin.Runtime) {
	known, _ := on.Store(i.store).(*logrecord.Entities)
	record := i.kind.buffers.Get().(*[]byte)
	*record = logrecord.Append((*record)[:0], ex, known, on.SecretParameters())
	i.queue.add(record)
}

const maxRecordKept = 64 << 10

// free gives a record's memory back.
func (k *Kind) free(record *[]byte) {
	if cap(*record) <= maxRecordKept {
		k.buffers.Put(record)
	}
}

// start gives a queue a sender. It returns false when there are to be no more senders.
func (k *Kind) start(q *queue) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.closing:
		return false
	default:
	}
	if !k.running {
		k.early = append(k.early, q)
		return true
	}
	k.senders.Go(func() { q.send(k.sending) })
	return true
}

// Run implements plugin.Runner. When ctx ends, senders try once to send what waits.
func (k *Kind) Run(ctx context.Context) error {
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	k.mu.Lock()
	k.running, k.sending = true, sending
	for _, q := range k.early {
		k.senders.Go(func() { q.send(sending) })
	}
	k.early = nil
	k.mu.Unlock()
	<-ctx.Done()
	k.mu.Lock()
	close(k.closing)
	k.mu.Unlock()
	giveUp := time.AfterFunc(k.options.Drain, stop)
	defer giveUp.Stop()
	k.senders.Wait()
	return ctx.Err()
}
