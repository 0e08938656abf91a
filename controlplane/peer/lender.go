package peer

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	peerv1 "github.com/keepgate/keepgate/proto/keepgate/peer/v1"
)

const (
	lendJitter  = 20 * time.Millisecond
	lendPerNode = 4 // replies a second, and at once
)

// lender remembers who asked, until the next round of answers.
type lender struct {
	wake chan struct{} // holds one

	mu       sync.Mutex
	requests map[string]request       // the newest of each node; guarded by mu; as many as there are senders
	limits   map[string]*rate.Limiter // by node; guarded by mu; at most maxSenders
}

type request struct {
	from      *message
	publicKey []byte
	ids       []string
}

func newLender() lender {
	return lender{
		wake: make(chan struct{}, 1), requests: make(map[string]request), limits: make(map[string]*rate.Limiter),
	}
}

// requested notes a request. Those of one node that come at once are answered once, the newest.
func (e *exchange) requested(m *message) {
	var asked peerv1.RingRequest
	if proto.Unmarshal(m.payload, &asked) != nil || len(asked.GetIds()) == 0 || len(asked.GetIds()) > maxIDs {
		e.peer.refused.count(refuse(Malformed, "node %s: not a request for keys", m.node))
		return
	}
	for _, id := range asked.GetIds() {
		if id == "" || len(id) > maxID {
			e.peer.refused.count(refuse(Malformed, "node %s asks for a key without a proper id", m.node))
			return
		}
	}
	if !e.lender.note(request{m, asked.GetPublicKey(), asked.GetIds()}) {
		e.peer.refused.count(refuse(TooMany, "node %s asks for keys more than %d times a second", m.node, lendPerNode))
	}
}

func (l *lender) note(r request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, waits := l.requests[r.from.node]; !waits && !l.allow(r.from.node) {
		return false
	}
	l.requests[r.from.node] = r
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

// allow runs under mu.
func (l *lender) allow(node string) bool {
	limit := l.limits[node]
	if limit == nil {
		if len(l.limits) >= maxSenders {
			clear(l.limits)
		}
		limit = rate.NewLimiter(lendPerNode, lendPerNode)
		l.limits[node] = limit
	}
	return limit.Allow()
}

func (l *lender) take() map[string]request {
	l.mu.Lock()
	defer l.mu.Unlock()
	requests := l.requests
	l.requests = make(map[string]request)
	return requests
}

// lend answers those who asked. The jitter lets requests gather and keeps holders from answering as one.
func (e *exchange) lend(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.lender.wake:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rand.N(lendJitter)):
		}
		for _, r := range e.lender.take() {
			e.answer(r)
		}
	}
}

func (e *exchange) answer(r request) {
	p := e.peer
	sealed, lent, err := sealMaterial(r.publicKey, bond{p.self.Cluster, r.from.node, p.self.Node, r.from.incarnation, r.from.nonce}, r.ids, e.ring.Lend)
	if err != nil {
		p.refused.count(refuse(Malformed, "node %s: %v", r.from.node, err))
		return
	}
	if sealed == nil {
		return
	}
	payload, err := proto.Marshal(&peerv1.RingReply{Request: r.from.nonce, Sealed: sealed})
	if err != nil {
		p.options.Log.Error("keys for another node not encoded", "err", err)
		return
	}
	p.send(outgoing{topic: topicReply, recipient: r.from.node, payload: payload})
	p.options.Log.Info("keys given to another control plane node", "ids", lent, "node", r.from.node, "identity", r.from.from.String())
}
