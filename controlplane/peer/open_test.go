package peer

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	peerv1 "github.com/keepgate/keepgate/proto/keepgate/peer/v1"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

var update = flag.Bool("update", false, "write the golden files anew")

// saying makes a message of p, as it was said at a time.
func saying(t testing.TB, p *Peer, topic string, sequence uint64, at time.Time) []byte {
	t.Helper()
	data, err := p.seal(outgoing{topic: topic}, sequence, at)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// rewritten changes a message's body and lets signer sign it.
func rewritten(t testing.TB, signer *Peer, data []byte, change func(*peerv1.Body)) []byte {
	t.Helper()
	var envelope peerv1.Envelope
	var body peerv1.Body
	if err := proto.Unmarshal(data, &envelope); err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(envelope.Body, &body); err != nil {
		t.Fatal(err)
	}
	change(&body)
	var err error
	if envelope.Body, err = proto.Marshal(&body); err != nil {
		t.Fatal(err)
	}
	if signer != nil {
		if envelope.Proof, err = signer.source.Sign(signContext, envelope.Body); err != nil {
			t.Fatal(err)
		}
	}
	if data, err = proto.Marshal(&envelope); err != nil {
		t.Fatal(err)
	}
	return data
}

func unsigned(t testing.TB, data []byte) []byte {
	t.Helper()
	var envelope peerv1.Envelope
	if err := proto.Unmarshal(data, &envelope); err != nil {
		t.Fatal(err)
	}
	envelope.Proof = nil
	data, err := proto.Marshal(&envelope)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	ca, other, w := mtlstest.NewCA(t, "cluster"), mtlstest.NewCA(t, "cluster"), newWire()
	now := time.Now()
	made := func(source *mtls.Source, node string) *Peer { p, _ := peerOf(source, w, node); return p }
	issued := func(authority *mtlstest.CA, leaf mtlstest.Leaf, node string) *Peer {
		source, _, _ := authority.Source(t, leaf)
		return made(source, node)
	}
	expired := controlPlane("node-2")
	expired.NotAfter = now.Add(-time.Minute)
	umbrella := controlPlane("node-2")
	umbrella.Identity.Organisation = "umbrella"
	revokedSource, _, revokedPair := ca.Source(t, controlPlane("node-2"))
	revoked := made(revokedSource, "node-2")

	source, files, _ := ca.Source(t, controlPlane("node-1"))
	mtlstest.Write(t, files.CRL, ca.CRL(t, 2, now.Add(time.Hour), revokedPair))
	if err := source.Reload(); err != nil {
		t.Fatal(err)
	}
	me := made(source, "node-1")
	good := issued(ca, controlPlane("node-2"), "node-2")
	said := func(p *Peer) []byte { return saying(t, p, "audit-heads", 5, now) }
	signed := func(change func(*peerv1.Body)) []byte { return rewritten(t, good, said(good), change) }
	tests := map[string]struct {
		data []byte
		want string
	}{
		"nothing":                  {nil, Malformed},
		"noise":                    {[]byte("noise"), Malformed},
		"half a message":           {said(good)[:100], Malformed},
		"too much":                 {make([]byte, maxMessage+1), TooLarge},
		"no proof":                 {unsigned(t, said(good)), string(verdict.BadProof)},
		"another's body":           {rewritten(t, nil, said(good), func(b *peerv1.Body) { b.Payload = []byte("x") }), string(verdict.BadProof)},
		"another CA":               {said(issued(other, controlPlane("node-2"), "node-2")), string(verdict.UnknownCA)},
		"a data plane":             {said(issued(ca, mtlstest.Leaf{}, "node-2")), string(verdict.WrongRole)},
		"an administrator":         {said(issued(ca, mtlstest.Leaf{Identity: identity.Identity{Role: identity.Admin}}, "node-2")), string(verdict.WrongRole)},
		"another house":            {said(issued(ca, umbrella, "node-2")), string(verdict.WrongOrganisation)},
		"expired":                  {said(issued(ca, expired, "node-2")), string(verdict.Expired)},
		"revoked":                  {said(revoked), string(verdict.Revoked)},
		"another cluster":          {signed(func(b *peerv1.Body) { b.Cluster = "another" }), WrongCluster},
		"another topic":            {saying(t, good, "history", 5, now), WrongTopic},
		"another recipient":        {signed(func(b *peerv1.Body) { b.Recipient = "node-3" }), WrongRecipient},
		"a bad node id":            {signed(func(b *peerv1.Body) { b.Node = "*" }), Malformed},
		"no sequence":              {signed(func(b *peerv1.Body) { b.Sequence = 0 }), Malformed},
		"a short nonce":            {signed(func(b *peerv1.Body) { b.Nonce = b.Nonce[1:] }), Malformed},
		"a short incarnation":      {signed(func(b *peerv1.Body) { b.Incarnation.Random = nil }), Malformed},
		"no incarnation":           {signed(func(b *peerv1.Body) { b.Incarnation = nil }), Malformed},
		"said a minute ago":        {saying(t, good, "audit-heads", 5, now.Add(-maxDrift-time.Second)), Stale},
		"said in a minute":         {saying(t, good, "audit-heads", 5, now.Add(maxDrift+time.Second)), Future},
		"said in the end of time":  {signed(func(b *peerv1.Body) { b.Sent = 1<<63 - 1 }), Future},
		"said before time":         {signed(func(b *peerv1.Body) { b.Sent = -1 << 63 }), Stale},
		"a start in the future":    {signed(func(b *peerv1.Body) { b.Incarnation.Started = now.Add(time.Hour).UnixMilli() }), Future},
		"node id of this node":     {said(issued(ca, controlPlane("node-2"), "node-1")), SameNode},
		"a proof of other content": {rewritten(t, nil, said(good), func(b *peerv1.Body) { b.Sequence++ }), string(verdict.BadProof)},
	}
	for name, test := range tests {
		m, _, err := me.open("audit-heads", test.data, now)
		if reason := reasonOf(err); reason != test.want {
			t.Errorf("%s: open = %v, %v, want %q", name, m, err, test.want)
		}
	}
	if me.Status().Peers != nil {
		t.Errorf("strangers have a place: %v", me.Status().Peers)
	}
	if _, _, err := me.open("audit-heads", said(me), now); err != errOwn {
		t.Errorf("own echo: %v", err)
	}
	if _, _, err := me.open("audit-heads", said(good), now); err != nil {
		t.Errorf("a good message after all that: %v", err)
	}
}

func reasonOf(err error) string {
	if r, ok := err.(*refusal); ok {
		return r.reason
	}
	return ""
}

// TestOrder: each message once, in its order, of the newest incarnation, from one identity.
func TestOrder(t *testing.T) {
	t.Parallel()
	ca, w, now := mtlstest.NewCA(t, "cluster"), newWire(), time.Now()
	me, log := newPeer(t, ca, w, "node-1")
	other, _ := newPeer(t, ca, w, "node-2")
	step := func(what, topic string, data []byte, at time.Time, want string) {
		t.Helper()
		if _, _, err := me.open(topic, data, at); reasonOf(err) != want || (want == "") != (err == nil) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	five := saying(t, other, "history", 5, now)
	step("the first", "history", five, now, "")
	step("the same", "history", five, now, Replayed)
	step("an older one", "history", saying(t, other, "history", 4, now), now, Replayed)
	step("an older one of another topic", "ring", saying(t, other, "ring", 3, now), now, "")
	step("a newer one", "history", saying(t, other, "history", 900, now), now, "")

	restarted, _ := peerOf(other.source, w, "node-2")
	restarted.self.Started = other.self.Started.Add(time.Millisecond)
	step("the first after a restart", "history", saying(t, restarted, "history", 1, now), now, "")
	step("one of the ended process", "history", saying(t, other, "history", 901, now), now, OldIncarnation)

	thief, _ := newPeer(t, ca, w, "node-3")
	thief.self.Node = "node-2"
	step("another identity", "history", saying(t, thief, "history", 1, now), now, NodeTaken)
	later := now.Add(forgetAfter + time.Second)
	step("another identity, long after", "history", saying(t, thief, "history", 2, later), later, "")

	slow, _ := newPeer(t, ca, w, "node-4")
	step("another clock", "history", saying(t, slow, "history", 1, now.Add(-time.Hour)), now, Stale)
	step("another clock", "history", saying(t, slow, "history", 2, now.Add(-time.Hour)), now, Stale)
	if text := log.String(); strings.Count(text, "clock of a control plane node is behind") != 1 || !strings.Contains(text, "by=1h0m0s") {
		t.Errorf("log = %s", text)
	}
}

// TestSendersAreBounded: even those who are proven get so many places and no more.
func TestSendersAreBounded(t *testing.T) {
	t.Parallel()
	var s senders
	now := time.Now()
	taken := 0
	for i := range 2 * maxSenders {
		m := &message{node: strings.Repeat("n", 1+i%64) + string(rune('a'+i/64)), from: identity.Identity{Role: identity.ControlPlane, Name: "x"}}
		if _, err := s.take(m, "history", 1, now); err == nil {
			taken++
		} else if reasonOf(err) != Crowded {
			t.Fatal(err)
		}
	}
	if taken != maxSenders {
		t.Errorf("%d senders are known, want %d", taken, maxSenders)
	}
}

func TestGoldenBody(t *testing.T) {
	t.Parallel()
	body, err := proto.Marshal(&peerv1.Body{
		Cluster: testCluster, Node: "node-1", Incarnation: &peerv1.Incarnation{Started: 1_800_000_000_000, Random: []byte("12345678")},
		Sequence: 42, Sent: 1_800_000_000_001, Nonce: []byte("1234567890123456"), Recipient: "node-2", Topic: topicReply, Payload: []byte("payload"),
	})
	if err != nil {
		t.Fatal(err)
	}
	checkGolden(t, "body", body)
}

func checkGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name + ".golden"
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is no longer what it was: %x, want %x", name, got, want)
	}
}

func FuzzOpen(f *testing.F) {
	ca, w := mtlstest.NewCA(f, "cluster"), newWire()
	me, _ := newPeer(f, ca, w, "node-1")
	other, _ := newPeer(f, ca, w, "node-2")
	now := time.Now()
	good := saying(f, other, "history", 1, now)
	if _, _, err := me.open("history", good, now); err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(rewritten(f, nil, good, func(b *peerv1.Body) { b.Sequence = 2 }))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, _, err := me.open("history", data, now)
		if err == nil {
			t.Fatalf("%x is believed: %v", data, m)
		}
		me.refused.count(err)
	})
}
