package enrol_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/enrol"
	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/schema"
)

func TestJoin(t *testing.T) {
	t.Parallel()
	n := newEnv(t).node().found().serve()
	token := n.invite("default", "edge-1")
	answer, err := n.joinByNetwork(token, asking{key: n.newKey()})
	n.must(err)
	leaf := n.leaf(answer.Issued.Chain)
	who, err := identity.Of(leaf)
	if err != nil || who.String() != "keepgate://data-plane/acme/default/edge-1" {
		t.Errorf("it is %v (%v)", who, err)
	}
	if len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth || leaf.IsCA || len(leaf.DNSNames) != 0 {
		t.Errorf("it may more than a data plane: %v %v %v", leaf.ExtKeyUsage, leaf.IsCA, leaf.DNSNames)
	}
	if days := time.Until(leaf.NotAfter).Hours() / 24; days < 29.9 || days > 30.1 {
		t.Errorf("it is valid for %v days", days)
	}
	if answer.From.Role != identity.ControlPlane || len(answer.Issued.Trust.GetAuthorities()) != 1 || answer.Issued.Trust.Sequence == 0 {
		t.Errorf("whom to believe: %v of %v", answer.Issued.Trust, answer.From)
	}
	cs, who := n.link(answer)
	n.must(n.registry.Admit(t.Context(), cs, who))
	d, found := n.registry.Find("default", "edge-1")
	if !found || d.Token != token.ID || d.JoinedAt == 0 {
		t.Errorf("on record: %+v", d)
	}
	list, _, err := n.service.Tokens(t.Context())
	if err != nil || len(list) != 1 || list[0].State(time.Now()) != enrol.Used || list[0].Used.Serial != who.Serial || list[0].Used.From != "127.0.0.1" {
		t.Errorf("the token: %+v %v", list, err)
	}
	created, joined := n.journal.noted("enrol.token.create join-token/"+token.ID), n.journal.noted("enrol.join data-plane/default/edge-1 token "+token.ID+" serial "+who.Serial)
	if len(created) != 1 || len(joined) != 1 {
		t.Errorf("the journal: %v", n.journal.entries)
	}
	text := ""
	token.Text().Reveal(func(data []byte) { text = strings.Split(string(data), ".")[2] })
	if strings.Contains(fmt.Sprint(n.journal.entries), text) {
		t.Error("the journal holds the token")
	}
	answer, err = n.joinByNetwork(token, asking{key: n.newKey()})
	wantRefused(t, "the same token, another key", answer, err, "was used")
}

// Whatever a request asks for, it is given what the token says, or nothing.
func TestJoinRefuses(t *testing.T) {
	t.Parallel()
	n := newEnv(t).node().found().serve()
	_, err := n.catalog.Insert(t.Context(), catalog.Address{Table: "environments"}, schema.Document{"name": "prod"})
	n.must(err)
	uri := func(text string) x509.CertificateRequest {
		parsed, err := url.Parse(text)
		n.must(err)
		return x509.CertificateRequest{URIs: []*url.URL{parsed}}
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	n.must(err)
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	n.must(err)
	ca, err := asn1.Marshal(struct{ CA bool }{true})
	n.must(err)
	for name, test := range map[string]struct {
		asking asking
		says   string
	}{
		"a control plane":           {asking{template: uri("keepgate://control-plane/acme/-/edge-1")}, "asks to be"},
		"an admin":                  {asking{template: uri("keepgate://admin/acme/-/edge-1")}, "asks to be"},
		"another environment":       {asking{template: uri("keepgate://data-plane/acme/default/edge-1")}, "asks to be"},
		"another organisation":      {asking{template: uri("keepgate://data-plane/other/prod/edge-1")}, "asks to be"},
		"another name in the URI":   {asking{template: uri("keepgate://data-plane/acme/prod/edge-2")}, "asks to be"},
		"another name":              {asking{name: "edge-2"}, `the token is for the data plane "edge-1"`},
		"a foreign URI":             {asking{template: uri("spiffe://acme/edge")}, "asks to be"},
		"a server's name":           {asking{template: x509.CertificateRequest{DNSNames: []string{"cp.example"}}}, "names of hosts"},
		"an address":                {asking{template: x509.CertificateRequest{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}}, "names of hosts"},
		"an e-mail address":         {asking{template: x509.CertificateRequest{EmailAddresses: []string{"a@b"}}}, "names of hosts"},
		"a CA":                      {asking{template: x509.CertificateRequest{ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Value: ca}}}}, "an extension"},
		"a curve that is too short": {asking{key: p224}, "curve"},
		"a curve that is too long":  {asking{key: p521}, "curve"},
	} {
		token := n.invite("prod", "edge-1")
		answer, err := n.join(token, test.asking)
		wantRefused(t, name, answer, err, test.says)
		if noted := n.journal.noted("refused:enrol.join join-token/" + token.ID); len(noted) != 1 || !strings.Contains(noted[0], test.says) {
			t.Errorf("%s: the journal says %v", name, noted)
		}
		if _, found := n.registry.Find("prod", "edge-1"); found {
			t.Errorf("%s: something is on record", name)
		}
	}
	token := n.invite("prod", "edge-1")
	good := n.request(asking{key: n.newKey()})
	for name, der := range map[string][]byte{
		"no request": nil, "noise": []byte("request"), "cut": good[:len(good)-1], "another signature": append(good[:len(good)-4:len(good)-4], 1, 2, 3, 4),
		"too long": make([]byte, 20<<10),
	} {
		answer, err := n.say(token, &enrolv1.JoinRequest{Request: der})
		wantRefused(t, name, answer, err, "request for a certificate")
	}
	if _, err := n.join(token, asking{template: uri("keepgate://data-plane/acme/prod/edge-1")}); err != nil { // refusals use nothing up
		t.Errorf("the very identity that it is given: %v", err)
	}
}

func TestKeysThatAreTaken(t *testing.T) {
	t.Parallel()
	n := newEnv(t).node().found().serve()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	n.must(err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	n.must(err)
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	n.must(err)
	for name, a := range map[string]asking{"p384": {key: p384}, "ed25519": {key: ed}, "rsa": {key: long}} {
		if _, err := n.join(n.invite("default", name), a); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTokensThatAreNotGood(t *testing.T) {
	t.Parallel()
	n := newEnv(t).node().found().serve()
	ctx := t.Context()

	used := n.invite("default", "")
	first, err := n.join(used, asking{name: "edge-1"})
	n.must(err)
	again, err := n.join(used, asking{name: "edge-1"})
	wantRefused(t, "used", again, err, "was used at", "keepgate://data-plane/acme/default/edge-1", "127.0.0.1", "keepgate-cp fleet invite --environment default --name edge-1")

	withdrawn := n.invite("default", "")
	n.must(n.service.Withdraw(ctx, withdrawn.ID))
	answer, err := n.join(withdrawn, asking{name: "edge-2"})
	wantRefused(t, "withdrawn", answer, err, "withdrawn")
	if err := n.service.Withdraw(ctx, used.ID); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "fleet revoke") {
		t.Errorf("withdrawing what was used: %v", err)
	}
	for _, id := range []string{"", "x", "9b2f8a53-4c2a-4d1a-9f11-000000000001", strings.ToUpper(used.ID)} {
		if err := n.service.Withdraw(ctx, id); fault.KindOf(err) != fault.NotFound {
			t.Errorf("withdrawing %q: %v", id, err)
		}
	}

	text, made, err := n.service.Invite(ctx, enrol.Invitation{Environment: "default", Expires: time.Second})
	n.must(err)
	time.Sleep(time.Until(time.Unix(made.ExpiresAt, 0))) // the end of a token is a time of the clock
	answer, err = n.join(n.token(text.Reveal), asking{name: "edge-2"})
	wantRefused(t, "expired", answer, err, "expired at")

	unknown, err := enrolment.NewToken("9b2f8a53-4c2a-4d1a-9f11-000000000001", enrolment.PinOf(n.root))
	n.must(err)
	answer, err = n.join(unknown, asking{name: "edge-2"})
	wantRefused(t, "unknown", answer, err, "no such token")
	guessed, err := enrolment.NewToken(n.invite("default", "").ID, enrolment.PinOf(n.root))
	n.must(err)
	answer, err = n.join(guessed, asking{name: "edge-2"})
	wantRefused(t, "a known id with another secret", answer, err, "no such token")

	open := n.invite("default", "")
	answer, err = n.join(open, asking{name: "edge-1"})
	wantRefused(t, "a name that somebody has", answer, err, "a data plane of this name already")
	cs, who := n.link(first)
	if err := n.registry.Admit(ctx, cs, who); err != nil {
		t.Errorf("the one that has the name: %v", err)
	}
	answer, err = n.join(open, asking{name: "a/b"})
	wantRefused(t, "a name that is none", answer, err, "only letters")
	answer, err = n.join(open, asking{})
	wantRefused(t, "no name", answer, err, "--name")
	if _, err := n.join(open, asking{hostname: "host-7"}); err != nil {
		t.Errorf("named after its host: %v", err)
	}
	if _, found := n.registry.Find("default", "host-7"); !found {
		t.Error("the host's name was not taken")
	}
}

// A data plane that was revoked comes back by name alone.
func TestJoiningAfterARevocation(t *testing.T) {
	t.Parallel()
	n := newEnv(t).node().found().serve()
	ctx := t.Context()
	old, err := n.join(n.invite("default", "edge-1"), asking{})
	n.must(err)
	_, who := n.link(old)
	before := n.invite("default", "edge-1")
	_, err = n.registry.Revoke(ctx, who.Environment, who.Name, "stolen")
	n.must(err)
	answer, err := n.join(before, asking{})
	wantRefused(t, "an invitation from before", answer, err, "after the token was made", "--name edge-1")
	answer, err = n.join(n.invite("default", ""), asking{name: "edge-1"})
	wantRefused(t, "a token for anybody", answer, err, "was revoked at", "--name edge-1")
	fresh, err := n.join(n.invite("default", "edge-1"), asking{})
	n.must(err)
	cs, who := n.link(fresh)
	n.must(n.registry.Admit(ctx, cs, who))
	cs, who = n.link(old)
	if _, revoked := errors.AsType[*nodes.Revoked](n.registry.Admit(ctx, cs, who)); !revoked {
		t.Error("the certificate of before may link")
	}
}

// The answer did not reach the node: the same key gets the same certificate, from any control plane node.
func TestTheSameKeyAgain(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	one := e.node().found().serve()
	two := e.node().serve()
	token, a := one.invite("default", "edge-1"), asking{key: e.newKey()}
	first, err := one.join(token, a)
	e.must(err)
	second, err := two.join(token, a)
	if err != nil || string(first.Issued.Chain[0]) != string(second.Issued.Chain[0]) {
		t.Errorf("another certificate, or none: %v", err)
	}
	answer, err := two.join(token, asking{})
	wantRefused(t, "another key", answer, err, "was used")
	_, who := one.link(first)
	_, err = one.registry.Revoke(t.Context(), who.Environment, who.Name, "")
	e.must(err)
	answer, err = two.join(token, a)
	wantRefused(t, "the same key, revoked", answer, err, "was used")
}

// One token at many nodes at the same instant: one certificate.
func TestOneTokenAtOnce(t *testing.T) {
	t.Parallel()
	oneTokenAtOnce(t, newEnv(t))
}

func oneTokenAtOnce(t *testing.T, e *env) {
	t.Helper()
	all := []*node{e.node().found().serve(), e.node().serve(), e.node().serve()}
	for round := range 5 {
		token := all[0].invite("default", "")
		var mu sync.Mutex
		serials := map[string]bool{}
		var racing sync.WaitGroup
		for i := range 6 {
			racing.Go(func() {
				answer, err := all[i%3].join(token, asking{name: fmt.Sprintf("edge-%d-%d", round, i)})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					serials[identity.SerialText(e.leaf(answer.Issued.Chain).SerialNumber)] = true
				} else if !strings.Contains(err.Error(), "was used") {
					t.Errorf("refused with %v", err)
				}
			})
		}
		racing.Wait()
		if len(serials) != 1 {
			t.Errorf("%d certificates came of one token", len(serials))
		}
	}
	if names := e.node().registry.Enrolled("default"); len(names) != 5 {
		t.Errorf("on record: %v", names)
	}
}

// While the database is away nothing is half done: the token is good afterwards.
func TestTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	n := newEnv(t).node().found().serve()
	token := n.invite("default", "edge-1")
	n.journal.fail(true)
	answer, err := n.join(token, asking{})
	wantRefused(t, "no journal", answer, err, "later")
	if refused, ok := errors.AsType[*enrolment.Refused](err); !ok || !refused.Again {
		t.Errorf("it is not told to try again: %v", err)
	}
	n.journal.fail(false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	said := &enrolv1.JoinRequest{Request: n.request(asking{key: n.newKey()})}
	token.Text().Reveal(func(text []byte) { said.Token = string(text) })
	if response := n.service.Join(ctx, addr("192.0.2.1"), said); response.GetRefusal() == nil {
		t.Errorf("issued without a database: %v", response)
	}
	if _, err := n.join(token, asking{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A row that is put back, or together of two, lets nobody join.
func TestTokenRowsForged(t *testing.T) {
	t.Parallel()
	n := newEnv(t).node().found().serve()
	ctx := t.Context()
	row := func(id string) map[string]string {
		t.Helper()
		found, err := n.store.Get(ctx, "join_tokens", "", id)
		n.must(err)
		return found.Sealed
	}
	used, other := n.invite("default", ""), n.invite("default", "")
	before := row(used.ID)
	if _, err := n.join(used, asking{name: "edge-1"}); err != nil {
		t.Fatal(err)
	}
	n.sql("update join_tokens set document = ? where id = ?", before["document"], used.ID)
	answer, err := n.join(used, asking{name: "edge-2"})
	wantRefused(t, "put back", answer, err, "was used by keepgate://data-plane/acme/default/edge-1")
	n.sql("update join_tokens set document = ?, token_hash = ? where id = ?", row(used.ID)["document"], row(used.ID)["token_hash"], other.ID)
	answer, err = n.join(other, asking{name: "edge-2"})
	wantRefused(t, "another's row", answer, err)
	n.sql("update join_tokens set document = ? where id = ?",
		`{"id":"`+other.ID+`","hash":"`+other.Hash()+`","environment":"default","created_at":1,"expires_at":99999999999}`, other.ID)
	answer, err = n.join(other, asking{name: "edge-2"})
	wantRefused(t, "in clear", answer, err)
	if list, unreadable, err := n.service.Tokens(ctx); err != nil || unreadable != 1 || len(list) != 1 {
		t.Errorf("listed: %d, %d unreadable, %v", len(list), unreadable, err)
	}
}

// Whoever guesses is held back; whoever has a token is not, from elsewhere.
func TestFloodOfGuesses(t *testing.T) {
	t.Parallel()
	n := newEnv(t).node().found()
	token := n.invite("default", "edge-1")
	held := false
	for i := 0; !held && i < 500; i++ {
		guess, err := enrolment.NewToken(token.ID, token.Root)
		n.must(err)
		said := &enrolv1.JoinRequest{Request: n.request(asking{key: n.newKey()})}
		guess.Text().Reveal(func(text []byte) { said.Token = string(text) })
		response := n.service.Join(t.Context(), addr("192.0.2.1"), said)
		if refusal := response.GetRefusal(); refusal.GetAgain() && strings.Contains(refusal.GetReason(), "too many") {
			held = true
		} else if refusal == nil {
			t.Fatalf("guess %d was right", i)
		}
	}
	if !held {
		t.Error("nobody was held back")
	}
	said := &enrolv1.JoinRequest{Request: n.request(asking{key: n.newKey()})}
	token.Text().Reveal(func(text []byte) { said.Token = string(text) })
	if response := n.service.Join(t.Context(), addr("192.0.2.2"), said); response.GetIssued() == nil {
		t.Errorf("the right token from elsewhere: %v", response.GetRefusal())
	}
}

// Whoever sends what is no token at all is held back too, before it keeps everybody else from joining.
func TestFloodOfNonsense(t *testing.T) {
	t.Parallel()
	n := newEnv(t).node().found()
	token := n.invite("default", "edge-1")
	for range 300 {
		n.service.Join(t.Context(), addr("192.0.2.1"), &enrolv1.JoinRequest{Token: "nonsense"})
	}
	if noted := n.journal.noted("refused:enrol.join"); len(noted) > 20 {
		t.Errorf("the journal notes %d of 300", len(noted))
	}
	said := &enrolv1.JoinRequest{Request: n.request(asking{key: n.newKey()})}
	token.Text().Reveal(func(text []byte) { said.Token = string(text) })
	if response := n.service.Join(t.Context(), addr("192.0.2.2"), said); response.GetIssued() == nil {
		t.Errorf("the right token from elsewhere: %v", response.GetRefusal())
	}
}

// Whoever connects and says nothing does not keep others out for long, and those who are too many are told.
func TestWhoSaysNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := enrol.New(nil, nil, nil, enrol.Options{})
		var serving sync.WaitGroup
		connect := func() net.Conn {
			near, far := net.Pipe()
			serving.Go(func() { service.Serve(t.Context(), far) })
			return near
		}
		var silent []net.Conn
		for range 32 {
			silent = append(silent, connect())
		}
		synctest.Wait()
		var response enrolv1.JoinResponse
		if err := enrolment.ReadFrame(connect(), &response); err != nil || !response.GetRefusal().GetAgain() {
			t.Errorf("one too many is told %v, %v", response.GetRefusal(), err)
		}
		begun := time.Now()
		serving.Wait()
		if waited := time.Since(begun); waited > enrolment.Deadline {
			t.Errorf("they could stay for %v", waited)
		}
		for _, conn := range silent {
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Error("whoever says nothing is answered")
			}
		}
	})
}

func TestCrowd(t *testing.T) {
	t.Parallel()
	c := &enrol.Crowd{}
	one, other := addr("2001:db8::1"), addr("2001:db8::2")
	for range 32 {
		if !c.Enter(one) {
			t.Fatal("too few of a network may be here")
		}
	}
	if c.Enter(other) || !c.Enter(addr("192.0.2.1")) {
		t.Error("networks are not counted by their /64")
	}
	if c.Leave(one); !c.Enter(other) {
		t.Error("whoever leaves makes no room")
	}
}
