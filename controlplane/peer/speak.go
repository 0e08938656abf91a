package peer

import (
	"context"
	"slices"
	"sync"
	"time"
)

// hints are topics that are to be hinted at.
type hints struct {
	wake chan struct{} // holds one

	mu     sync.Mutex
	topics []string // guarded by mu; each once
}

func (h *hints) add(topic string) {
	h.mu.Lock()
	if !slices.Contains(h.topics, topic) {
		h.topics = append(h.topics, topic)
	}
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *hints) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	topics := h.topics
	h.topics = nil
	return topics
}

// speech is the state of speak.
type speech struct {
	sequence  uint64
	connected bool
	quiet     <-chan time.Time // not nil: no hints before
}

// speak signs and publishes, one message after the other.
func (p *Peer) speak(ctx context.Context) error {
	beat := time.NewTicker(p.options.Heartbeat)
	defer beat.Stop()
	var s speech
	p.beat(&s)
	for {
		wake := p.hints.wake
		if s.quiet != nil {
			wake = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			p.beat(&s)
		case o := <-p.outgoing:
			p.publish(&s, o)
		case <-wake:
			for _, topic := range p.hints.take() {
				p.publish(&s, outgoing{topic: topic})
			}
			s.quiet = time.After(hintPause)
		case <-s.quiet:
			s.quiet = nil
		}
	}
}

// beat says that this node is here, and notices who no longer is.
func (p *Peer) beat(s *speech) {
	now := time.Now()
	was := s.connected
	s.connected = p.bus.Connected()
	if s.connected && !was {
		p.catchUp()
	}
	p.publish(s, outgoing{topic: topicHello})
	p.senders.tellSilent(now.Add(-silentAfter*p.options.Heartbeat), now)
}

// publish loses the message when it cannot leave now.
func (p *Peer) publish(s *speech, o outgoing) {
	if !p.bus.Connected() {
		return
	}
	s.sequence++
	data, err := p.seal(o, s.sequence, time.Now())
	if err != nil {
		p.options.Log.Error("message to the other control plane nodes not signed", "topic", o.topic, "err", err)
		return
	}
	subject := o.topic
	if o.recipient != "" {
		subject += "." + o.recipient
	}
	if err := p.bus.Publish(p.subject(subject), data); err != nil {
		p.options.Log.Debug("message to the other control plane nodes lost", "topic", o.topic, "err", err)
	}
}
