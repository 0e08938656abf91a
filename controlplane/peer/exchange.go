package peer

import (
	"context"
	"crypto/hpke"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	peerv1 "github.com/keepgate/keepgate/proto/keepgate/peer/v1"
	"github.com/keepgate/keepgate/shared/secret"
)

// Ring is the keyring of this node.
type Ring interface {
	// Wanted returns the ids of usable keys whose material this node lacks.
	Wanted() []string
	// Lend calls use for those of the keys that this node holds. use keeps nothing.
	Lend(ids []string, use func(id string, material secret.Bytes))
	// Accept checks material that another node gave against what is proven of each key, and keeps what is
	// right. It owns the material and wipes the rest.
	Accept(ctx context.Context, from string, material map[string]secret.Bytes) (accepted []string, err error)
	// Changed returns a channel that is closed at the next change of what Wanted returns.
	Changed() <-chan struct{}
}

const (
	askFirst      = 250 * time.Millisecond
	askMost       = 15 * time.Second
	maxAsked      = 4  // requests that may still be answered
	maxReplies    = 16 // to one request
	complainAfter = 10 * time.Second
)

// exchange gets this node the keys that it lacks, and gives others those that they lack.
type exchange struct {
	peer *Peer
	ring Ring

	wake    chan struct{} // holds one: ask now
	replies chan reply

	mu    sync.Mutex
	asked []question // the newest last; guarded by mu; at most maxAsked

	lender lender
}

// question is a request of this node.
type question struct {
	nonce   []byte
	replies int // heard so far
}

// reply is an answer to one of the last questions, still sealed.
type reply struct {
	from   *message
	nonce  []byte
	sealed []byte
}

func newExchange(p *Peer, ring Ring) *exchange {
	return &exchange{
		peer: p, ring: ring,
		wake: make(chan struct{}, 1), replies: make(chan reply, maxReplies), lender: newLender(),
	}
}

// poke lets a waiting node ask at once.
func (e *exchange) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// ask asks for what is wanted until it has come, ever more seldom. It is the only one who asks.
func (e *exchange) ask(ctx context.Context) error {
	key, err := kem().GenerateKey()
	if err != nil {
		return fmt.Errorf("making the ephemeral key: %w", err)
	}
	b := backoff{log: e.peer.options.Log}
	for {
		changed, wanted := e.ring.Changed(), e.ring.Wanted()
		var again <-chan time.Time
		if pause, ask := b.next(wanted, time.Now()); ask {
			e.request(key, wanted)
			again = time.After(pause)
		} else if len(wanted) > 0 {
			again = time.After(pause)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-again:
		case <-e.wake:
			b.hurry()
		case r := <-e.replies:
			e.accept(ctx, key, r)
		}
	}
}

func (e *exchange) request(key hpke.PrivateKey, wanted []string) {
	wanted = slices.Sorted(slices.Values(wanted))
	payload, err := proto.Marshal(&peerv1.RingRequest{PublicKey: key.PublicKey().Bytes(), Ids: wanted[:min(len(wanted), maxIDs)]})
	if err != nil {
		e.peer.options.Log.Error("request for keys not encoded", "err", err)
		return
	}
	nonce := newNonce()
	e.mu.Lock()
	e.asked = append(e.asked, question{nonce: nonce})
	e.asked = e.asked[max(0, len(e.asked)-maxAsked):]
	e.mu.Unlock()
	e.peer.send(outgoing{topic: topicRequest, nonce: nonce, payload: payload})
}

// replied takes an answer for ask, which has the time to open it.
func (e *exchange) replied(m *message) {
	var answer peerv1.RingReply
	if proto.Unmarshal(m.payload, &answer) != nil {
		e.peer.refused.count(refuse(Malformed, "node %s: not a reply", m.node))
		return
	}
	if !e.isAsked(answer.GetRequest()) {
		e.peer.refused.count(refuse(Unasked, "node %s answers what was not asked, or no longer", m.node))
		return
	}
	select {
	case e.replies <- reply{m, answer.GetRequest(), answer.GetSealed()}:
	default: // enough to do
	}
}

func (e *exchange) isAsked(nonce []byte) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, q := range e.asked {
		if string(q.nonce) == string(nonce) && q.replies < maxReplies {
			e.asked[i].replies++
			return true
		}
	}
	return false
}

func (e *exchange) accept(ctx context.Context, key hpke.PrivateKey, r reply) {
	if len(e.ring.Wanted()) == 0 {
		return // another node was faster
	}
	p, log := e.peer, e.peer.options.Log
	material, err := openMaterial(key, bond{p.self.Cluster, p.self.Node, r.from.node, p.incarnation(), r.nonce}, r.sealed)
	if err != nil {
		p.refused.count(refuse(Unopened, "the reply of node %s: %v", r.from.node, err))
		return
	}
	accepted, err := e.ring.Accept(ctx, r.from.node, material)
	if err != nil {
		log.Warn("keys of another control plane node not accepted", "node", r.from.node, "err", err)
	}
	if len(accepted) > 0 {
		log.Info("keys received", "ids", accepted, "node", r.from.node, "identity", r.from.from.String())
	}
}
