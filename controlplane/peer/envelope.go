package peer

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	peerv1 "github.com/keepgate/keepgate/proto/keepgate/peer/v1"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/proof"
)

const (
	signContext       = "keepgate.peer.v1"
	incarnationRandom = 8
	nonceSize         = 16
	maxMessage        = 256 << 10
	maxDrift          = time.Minute // between the clocks of two nodes, the way included
)

// message is what another control plane node has provably said, here and now.
type message struct {
	from        identity.Identity
	node        string
	incarnation incarnation
	nonce       []byte
	payload     []byte
}

// incarnation is one run of a process; later ones are greater.
type incarnation struct {
	started int64
	random  [incarnationRandom]byte
}

func (i incarnation) compare(other incarnation) int {
	switch {
	case i.started != other.started:
		return int(min(max(i.started-other.started, -1), 1))
	default:
		return bytes.Compare(i.random[:], other.random[:])
	}
}

func (p *Peer) incarnation() incarnation { return incarnation{p.self.Started.UnixMilli(), p.random} }

// seal signs a message. Only speak calls it, so that sequences leave in their order.
func (p *Peer) seal(o outgoing, sequence uint64, now time.Time) ([]byte, error) {
	if o.nonce == nil {
		o.nonce = newNonce()
	}
	body, err := proto.Marshal(&peerv1.Body{
		Cluster: p.self.Cluster, Node: p.self.Node,
		Incarnation: &peerv1.Incarnation{Started: p.self.Started.UnixMilli(), Random: p.random[:]},
		Sequence:    sequence, Sent: now.UnixMilli(), Nonce: o.nonce,
		Recipient: o.recipient, Topic: o.topic, Payload: o.payload,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding a message: %w", err)
	}
	said, err := p.source.Sign(signContext, body)
	if err != nil {
		return nil, err
	}
	data, err := proto.Marshal(&peerv1.Envelope{Body: body, Proof: said})
	if err != nil {
		return nil, fmt.Errorf("encoding an envelope: %w", err)
	}
	if len(data) > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes is too large: %d are the most", len(data), maxMessage)
	}
	return data, nil
}

func newNonce() []byte {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	return nonce
}

// open is the whole policy. What costs nothing is asked first, but nothing is believed before the proof.
func (p *Peer) open(topic string, data []byte, now time.Time) (m *message, appeared bool, err error) {
	envelope, body, err := decode(data)
	if err != nil {
		return nil, false, err
	}
	m = &message{node: body.GetNode(), nonce: body.GetNonce(), payload: body.GetPayload()}
	m.incarnation.started = body.GetIncarnation().GetStarted()
	copy(m.incarnation.random[:], body.GetIncarnation().GetRandom())
	if err := p.concerns(topic, body, m); err != nil {
		return nil, false, err
	}
	if err := p.senders.check(m, topic, body.GetSequence()); err != nil {
		return nil, false, err // it would be refused after the said, too
	}
	if m.from, err = p.prove(envelope); err != nil {
		return nil, false, err
	}
	if m.node == p.self.Node {
		return nil, false, refuse(SameNode, "%s uses the node id %s, which is this node's: was its folder copied? Every node needs its own", m.from, m.node)
	}
	if time.UnixMilli(m.incarnation.started).Sub(now) > maxDrift {
		return nil, false, refuse(Future, "node %s says that it will start", m.node) // and would outlast its next start
	}
	if err := p.timely(m, time.UnixMilli(body.GetSent()), now); err != nil {
		return nil, false, err
	}
	appeared, err = p.senders.take(m, topic, body.GetSequence(), now)
	return m, appeared, err
}

// prove believes the sender, or does not. A certificate that was never seen costs several signature checks;
// only so many of them are looked at, lest a flood of strangers drowns the nodes that are known.
func (p *Peer) prove(envelope *peerv1.Envelope) (identity.Identity, error) {
	if !p.source.Believes(envelope.GetProof()) && !p.strangers.Allow() {
		return identity.Identity{}, refuse(Strangers, "more than %d messages a second come with certificates that are not known yet", maxStrangers)
	}
	p.checking.Lock()
	defer p.checking.Unlock()
	from, err := p.source.Proven(signContext, envelope.GetBody(), envelope.GetProof(), proof.Now, identity.ControlPlane)
	if err != nil {
		return identity.Identity{}, unproven(err)
	}
	return from, nil
}

// decode accepts any Body; later versions may say more.
func decode(data []byte) (*peerv1.Envelope, *peerv1.Body, error) {
	if len(data) > maxMessage {
		return nil, nil, refuse(TooLarge, "%d bytes, %d are the most", len(data), maxMessage)
	}
	var envelope peerv1.Envelope
	if proto.Unmarshal(data, &envelope) != nil {
		return nil, nil, refuse(Malformed, "not an envelope")
	}
	var body peerv1.Body
	if proto.Unmarshal(envelope.GetBody(), &body) != nil {
		return nil, nil, refuse(Malformed, "not a body")
	}
	if !isLabel(body.GetNode()) || len(body.GetNonce()) != nonceSize || body.GetSequence() == 0 ||
		len(body.GetIncarnation().GetRandom()) != incarnationRandom {
		return nil, nil, refuse(Malformed, "a body without sender, nonce or sequence")
	}
	return &envelope, &body, nil
}

// concerns drops what is not meant for this subscription, before any signature is verified.
func (p *Peer) concerns(topic string, body *peerv1.Body, m *message) error {
	switch {
	case m.node == p.self.Node && m.incarnation == p.incarnation():
		return errOwn
	case body.GetCluster() != p.self.Cluster:
		return refuse(WrongCluster, "of cluster %.64q, this is %q", body.GetCluster(), p.self.Cluster)
	case body.GetTopic() != topic:
		return refuse(WrongTopic, "of topic %.64q, published under %q", body.GetTopic(), topic)
	case body.GetRecipient() != "" && body.GetRecipient() != p.self.Node:
		return refuse(WrongRecipient, "for node %.64q", body.GetRecipient())
	case body.GetRecipient() == "" && topic == topicReply:
		return refuse(Malformed, "a reply for nobody")
	}
	return nil
}

func (p *Peer) timely(m *message, sent, now time.Time) error {
	late := now.Sub(sent)
	if late <= maxDrift && late >= -maxDrift {
		return nil
	}
	p.senders.tellDrift(m, late)
	if late > 0 {
		return refuse(Stale, "node %s said it %v ago", m.node, late.Round(time.Second))
	}
	return refuse(Future, "node %s says it %v from now", m.node, -late.Round(time.Second))
}
