// Package peer is what the nodes of one control plane say to each other: hints that something changed,
// signs of life, signed words, and key material for a node that lacks it.
//
// The carrier (NATS, see controlplane/peer/bus) is not trusted. Whoever reads, replays, drops, duplicates,
// reorders or writes its messages learns no key and changes nothing but delays: every message is signed by
// the peer certificate of a control plane node over all that it means (cluster, sender and incarnation,
// sequence, time, recipient, topic), and key material travels sealed (HPKE, RFC 9180, ML-KEM-768 + X25519)
// to the ephemeral key of the node that asked, for that one request. What is not proven is refused and
// counted; [Status] shows the counts.
//
// Losing messages is normal. Whoever hears a hint looks into the database, which is also polled; nothing
// here waits for NATS. A node that has just started knows no sequences yet, so a message of the last minute
// may reach it a second time: what is said must bear that.
//
// The package does not decide which keys are usable or active (controlplane/keyring), which nodes live
// (controlplane/members, by leases in the database), nor does it connect to anything.
package peer

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// Bus carries messages to all who subscribed, or loses them.
type Bus interface {
	// Publish sends to every subscriber, also to those of this node, and does not wait for anybody. It may
	// keep neither subject nor data.
	Publish(subject string, data []byte) error
	// Subscribe calls heard for each message under the subject, one after the other in the order of their
	// arrival, until cancel is called. The data belongs to heard.
	Subscribe(subject string, heard func(data []byte)) (cancel func(), err error)
	// Connected says whether messages travel at this moment.
	Connected() bool
}

// Self is who this node is.
type Self struct {
	Cluster string // id of the database's cluster
	Node    string // id of this node: letters, digits, "-" and "_"
	Started time.Time
}

// Options tunes a Peer. The zero value is right for production.
type Options struct {
	Log       *slog.Logger  // default: discard
	Heartbeat time.Duration // between two signs of life; default 2 s
}

const (
	topicHello   = "hello"
	topicRequest = "ring-request"
	topicReply   = "ring-reply"

	maxOutgoing = 256
	hintPause   = 20 * time.Millisecond // between two rounds of hints
	silentAfter = 5                     // heartbeats that were missed

	maxStrangers = 1000 // messages a second with certificates that are not known yet
)

// Peer speaks and listens for this node.
type Peer struct {
	source  *mtls.Source
	bus     Bus
	self    Self
	options Options
	random  [incarnationRandom]byte

	listeners []listener // fixed before Run
	exchange  *exchange  // nil: no ring; fixed before Run
	outgoing  chan outgoing
	hints     hints
	checking  sync.Mutex // one message is verified at a time, so that a flood costs one core at most
	strangers *rate.Limiter
	senders   senders
	refused   refusals
}

type listener struct {
	topic string
	heard func(from identity.Identity, node string, body []byte)
	hint  bool // also called when a node or the connection has come back
}

// outgoing is a message not yet signed.
type outgoing struct {
	topic, recipient string
	nonce            []byte // nil: a new one
	payload          []byte
}

// New makes a Peer and starts nothing: see Run.
func New(source *mtls.Source, bus Bus, self Self, options Options) *Peer {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Heartbeat <= 0 {
		options.Heartbeat = 2 * time.Second
	}
	p := &Peer{
		source: source, bus: bus, self: self, options: options,
		outgoing: make(chan outgoing, maxOutgoing),
		hints:    hints{wake: make(chan struct{}, 1)},
		refused:  refusals{log: options.Log},

		strangers: rate.NewLimiter(maxStrangers, maxStrangers),
	}
	p.senders.log = options.Log
	rand.Read(p.random[:])
	return p
}

// On calls heard when another node hinted at topic, and when hints may have been lost: after the
// connection or a silent node has come back. It must return soon. On, Hear and Exchange come before Run.
func (p *Peer) On(topic string, heard func()) {
	p.listeners = append(p.listeners, listener{topic, func(identity.Identity, string, []byte) { heard() }, true})
}

// Hear calls heard for what other nodes say on topic, in the order in which each node said it.
func (p *Peer) Hear(topic string, heard func(from identity.Identity, node string, body []byte)) {
	p.listeners = append(p.listeners, listener{topic, heard, false})
}

// Exchange lets this node ask others for the keys that ring wants, and lend them those it holds.
func (p *Peer) Exchange(ring Ring) { p.exchange = newExchange(p, ring) }

// Hint tells every node that something of topic has changed. It never blocks; many hints become one.
func (p *Peer) Hint(topic string) { p.hints.add(topic) }

// Say tells every node body. It never blocks; with the connection away or too much to say, it is lost.
func (p *Peer) Say(topic string, body []byte) {
	p.send(outgoing{topic: topic, payload: append([]byte(nil), body...)})
}

func (p *Peer) send(o outgoing) {
	select {
	case p.outgoing <- o:
	default:
		p.options.Log.Debug("message to the other control plane nodes dropped: too many wait", "topic", o.topic)
	}
}

// Run speaks and listens until ctx ends.
func (p *Peer) Run(ctx context.Context) error {
	if !isLabel(p.self.Cluster) || !isLabel(p.self.Node) {
		return fault.Newf(fault.Invalid, "peer.Run", "node/"+p.self.Node, "cluster id %q and node id %q: 1 to 64 letters, digits, - and _ are wanted", p.self.Cluster, p.self.Node)
	}
	cancel, err := p.subscribe()
	defer cancel()
	if err != nil {
		return fault.New(fault.Unavailable, "peer.Run", "subscription", err)
	}
	parts := []lifecycle.Part{{Name: "speak", Run: p.speak}}
	if p.exchange != nil {
		parts = append(parts, lifecycle.Part{Name: "ask", Run: p.exchange.ask}, lifecycle.Part{Name: "lend", Run: p.exchange.lend})
	}
	return lifecycle.Run(ctx, parts...)
}

// handlers says who hears what, by topic.
func (p *Peer) handlers() map[string]func(*message) {
	topics := map[string]func(*message){topicHello: func(*message) {}}
	for _, l := range p.listeners {
		before := topics[l.topic]
		topics[l.topic] = func(m *message) {
			if before != nil {
				before(m)
			}
			l.heard(m.from, m.node, m.payload)
		}
	}
	if p.exchange != nil {
		topics[topicRequest], topics[topicReply] = p.exchange.requested, p.exchange.replied
	}
	return topics
}

// subscribe listens until cancel is called; then nobody hears anything any more.
func (p *Peer) subscribe() (cancel func(), err error) {
	var (
		gate    sync.RWMutex
		closed  bool // guarded by gate
		cancels []func()
	)
	cancel = func() {
		for _, c := range cancels {
			c()
		}
		gate.Lock() // waits for those who are hearing something
		defer gate.Unlock()
		closed = true
	}
	for topic, heard := range p.handlers() {
		subject := topic
		if topic == topicReply {
			subject += "." + p.self.Node
		}
		c, err := p.bus.Subscribe(p.subject(subject), func(data []byte) {
			gate.RLock()
			defer gate.RUnlock()
			if !closed {
				p.receive(topic, data, heard)
			}
		})
		if err != nil {
			return cancel, fmt.Errorf("topic %s: %w", topic, err)
		}
		cancels = append(cancels, c)
	}
	return cancel, nil
}

func (p *Peer) subject(topic string) string { return "keepgate." + p.self.Cluster + "." + topic }

// receive verifies one message and hands it on.
func (p *Peer) receive(topic string, data []byte, heard func(*message)) {
	m, appeared, err := p.open(topic, data, time.Now())
	if err != nil {
		p.refused.count(err)
		return
	}
	if appeared {
		p.options.Log.Info("control plane node heard", "node", m.node, "identity", m.from.String())
		p.catchUp()
	}
	heard(m)
}

// catchUp looks for what hints may have said while nobody heard them.
func (p *Peer) catchUp() {
	for _, l := range p.listeners {
		if l.hint {
			l.heard(identity.Identity{}, "", nil)
		}
	}
	if p.exchange != nil {
		p.exchange.poke()
	}
}

func isLabel(text string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	return text != "" && len(text) <= 64 && strings.Trim(text, letters) == ""
}
