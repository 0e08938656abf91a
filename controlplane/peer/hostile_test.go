package peer

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	peerv1 "github.com/keepgate/keepgate/proto/keepgate/peer/v1"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// give makes a key that the holder has and the others lack.
func give(id string, holder *member, lack ...*member) (material []byte) {
	material = newMaterial()
	holder.ring.list(id, hashOf(material), material)
	for _, m := range lack {
		m.ring.list(id, hashOf(material), nil)
	}
	return material
}

func TestHostileParticipant(t *testing.T) {
	t.Parallel()
	ca, url := mtlstest.NewCA(t, "cluster"), openNATS(t)
	s := newSpy(t, url)
	forgers, revoked := forgers(t, ca)
	join := func(name string) *member { return newMember(t, ca, url, testCluster, name, revoked) }
	one, two, four := join("node-1"), join("node-2"), join("node-4")
	foreign := newMember(t, ca, url, "foreign", "node-2") // another database below the same authority
	keys := map[string][]byte{"key00001": give("key00001", one, two)}
	await(t, "the key comes", func() bool { return bytes.Equal(two.ring.holds("key00001"), keys["key00001"]) })
	hints := two.hints.Load()
	one.Say("audit-heads", []byte("genuine"))
	one.Hint("history")
	await(t, "words and hints come", func() bool { return len(two.heard()) == 1 && two.hints.Load() > hints && s.count(topicHello) > 4 })

	// What is heard of a node that comes is a look at the history, too.
	hinted := func() int { return int(two.hints.Load()) - strings.Count(two.log.String(), "control plane node heard") }
	before := hinted()
	attack(s, forgers, foreign.self.Cluster)
	for _, reason := range []string{
		Replayed, Malformed, WrongTopic, TooLarge, WrongCluster,
		string(verdict.BadProof), string(verdict.UnknownCA), string(verdict.WrongRole), string(verdict.Revoked), string(verdict.Expired),
	} {
		await(t, reason+" is counted", func() bool { return two.Status().Refused[reason] > 0 })
	}
	await(t, "an answer for another node is counted", func() bool { return four.Status().Refused[WrongRecipient] > 0 })
	await(t, "the foreign cluster refuses", func() bool { return foreign.Status().Refused[WrongCluster] > 0 })

	// Under a flood, a new key and a new node still find each other.
	stop := flood(s, forgers, two)
	keys["key00002"] = give("key00002", one, two)
	three := join("node-3")
	for id, material := range keys {
		three.ring.list(id, hashOf(material), nil)
	}
	await(t, "the keys come through a flood", func() bool { return len(two.ring.Wanted())+len(three.ring.Wanted()) == 0 })
	stop()

	for _, m := range []*member{one, two, three} {
		for id, material := range keys {
			if !bytes.Equal(m.ring.holds(id), material) {
				t.Errorf("%s holds another key %s", m.self.Node, id)
			}
		}
		if len(m.ring.held) != len(keys) || m.ring.refused != 0 {
			t.Errorf("%s was offered a planted key: %d held, %d refused", m.self.Node, len(m.ring.held), m.ring.refused)
		}
	}
	if words := two.heard(); len(words) != 1 || words[0] != "node-1 node-1 genuine" {
		t.Errorf("words = %q", words)
	}
	if after := hinted(); after != before {
		t.Errorf("%d hints from strangers were heard", after-before)
	}
	for _, p := range two.Status().Peers {
		if !strings.HasPrefix(p.Node, "node-") {
			t.Errorf("a stranger has a place: %v", p)
		}
	}
	if len(four.ring.held) != 0 {
		t.Error("a node that wants no key got one")
	}
	searchCanaries(t, s, keys)
}

// forgers speak with every certificate that an outsider may have got hold of, under their own node ids and
// under those of the others.
func forgers(t *testing.T, ca *mtlstest.CA) (all []*Peer, revoked mtlstest.Pair) {
	t.Helper()
	expired := controlPlane("expired")
	expired.NotAfter = time.Now().Add(-time.Minute)
	stranger, _, _ := mtlstest.NewCA(t, "cluster").Source(t, controlPlane("node-1"))
	edge, _, _ := ca.Source(t, mtlstest.Leaf{})
	old, _, _ := ca.Source(t, expired)
	gone, _, revoked := ca.Source(t, controlPlane("revoked"))
	for _, source := range []*mtls.Source{stranger, edge, old, gone} {
		for _, node := range []string{"evil", "node-1", "node-2"} {
			p, _ := peerOf(source, nil, node)
			p.self.Started = time.Now().Add(maxDrift / 2) // newer than any
			all = append(all, p)
		}
	}
	return all, revoked
}

// attack writes, once each, what can be made of all that was read.
func attack(s *spy, forgers []*Peer, otherCluster string) {
	seen := s.seen()
	slices.Reverse(seen)
	for i, c := range seen {
		s.say(c.subject, c.data)
		s.say(c.subject, c.data)
		s.say(strings.Replace(c.subject, testCluster, otherCluster, 1), c.data)
		s.say(strings.Replace(c.subject, otherCluster, testCluster, 1), c.data)
		for _, topic := range []string{"history", topicHello, "audit-heads", topicRequest, topicReply + ".node-1", topicReply + ".node-2", topicReply + ".node-4"} {
			s.say("keepgate."+testCluster+"."+topic, c.data)
		}
		for cut := 0; cut < len(c.data); cut += 1 + len(c.data)/20 {
			s.say(c.subject, c.data[:cut])
			bent := bytes.Clone(c.data)
			bent[cut] ^= 1 << (i % 8)
			s.say(c.subject, bent)
		}
		s.say(c.subject, make([]byte, maxMessage+1))
		for _, forger := range forgers {
			forge(s, forger, c)
		}
	}
	_ = s.conn.Flush()
}

// forge answers, asks and speaks with a certificate that does not count here.
func forge(s *spy, forger *Peer, c captured) {
	say := func(topic, recipient string, payload []byte) {
		data, err := forger.seal(outgoing{topic: topic, recipient: recipient, payload: payload}, 1<<40, time.Now())
		if err != nil {
			panic(err)
		}
		subject := topic
		if recipient != "" {
			subject += "." + recipient
		}
		s.say(forger.subject(subject), data)
	}
	var envelope peerv1.Envelope
	var body peerv1.Body
	var request peerv1.RingRequest
	if proto.Unmarshal(c.data, &envelope) != nil || proto.Unmarshal(envelope.Body, &body) != nil {
		return
	}
	say("history", "", nil)
	say("audit-heads", "", []byte("forged"))
	if body.Topic != topicRequest || proto.Unmarshal(body.Payload, &request) != nil {
		return
	}
	// The very answer that the requester waits for, but for who gives it.
	b := bond{body.Cluster, body.Node, forger.self.Node, incarnation{started: body.Incarnation.Started}, body.Nonce}
	copy(b.incarnation.random[:], body.Incarnation.Random)
	planted := newRing()
	for _, id := range request.Ids {
		material := newMaterial()
		planted.list(id, hashOf(material), material)
	}
	sealed, _, err := sealMaterial(request.PublicKey, b, request.Ids, planted.Lend)
	if err != nil {
		panic(err)
	}
	reply, err := proto.Marshal(&peerv1.RingReply{Request: body.Nonce, Sealed: sealed})
	if err != nil {
		panic(err)
	}
	say(topicReply, body.Node, reply)
	// The same request for a key of its own, signed by nobody and by itself.
	own, err := kem().GenerateKey()
	if err != nil {
		panic(err)
	}
	request.PublicKey = own.PublicKey().Bytes()
	if body.Payload, err = proto.Marshal(&request); err != nil {
		panic(err)
	}
	say(topicRequest, "", body.Payload)
	if envelope.Body, err = proto.Marshal(&body); err != nil {
		panic(err)
	}
	data, err := proto.Marshal(&envelope)
	if err != nil {
		panic(err)
	}
	s.say(c.subject, data)
}

// flood goes on with all of it until stop is called. It waits for its victim after each round: a carrier
// that is filled beyond what anybody can read loses messages, and then nothing is shown.
func flood(s *spy, forgers []*Peer, victim *member) (stop func()) {
	refused := func() (n uint64) {
		for _, reason := range victim.Status().Refused {
			n += reason
		}
		return n
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for round := 0; ; round++ {
			seen, before := s.seen(), refused()
			seen = slices.DeleteFunc(seen[max(0, len(seen)-1000):], func(c captured) bool { _, _, err := decode(c.data); return err != nil })
			for _, c := range seen[max(0, len(seen)-20):] {
				s.say(c.subject, c.data)
				bent := bytes.Clone(c.data)
				if len(bent) > 0 {
					bent[round%len(bent)] ^= 0x80
				}
				s.say(c.subject, bent)
				forge(s, forgers[round%len(forgers)], c)
			}
			const noise = 100
			for range noise {
				s.say(victim.subject(topicHello), []byte("noise"))
				s.say(victim.subject(topicRequest), []byte("noise"))
			}
			for refused() < before+2*noise {
				select {
				case <-done:
					return
				case <-time.After(time.Millisecond):
				}
			}
		}
	}()
	return func() { close(done); <-ended }
}
