package peer

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/keepgate/keepgate/controlplane/peer/bus"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

const patience = 30 * time.Second

func await(t *testing.T, what string, until func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !until(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// openNATS is a NATS server that lets everybody read and write everything.
func openNATS(t *testing.T) (url string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not start")
	}
	return s.ClientURL()
}

// member is a node that hears and is heard over NATS.
type member struct {
	*Peer
	ring  *testRing
	log   *journal
	hints atomic.Int32

	mu    sync.Mutex
	words []string
}

func newMember(t *testing.T, ca *mtlstest.CA, url, cluster, name string, revoked ...mtlstest.Pair) *member {
	t.Helper()
	source, files, _ := ca.Source(t, controlPlane(name))
	mtlstest.Write(t, files.CRL, ca.CRL(t, 2, time.Now().Add(time.Hour), revoked...))
	if err := source.Reload(); err != nil {
		t.Fatal(err)
	}
	b, err := bus.Open(t.Context(), bus.Config{Cluster: cluster, Node: name, URLs: []string{url}})
	if err != nil {
		t.Fatal(err)
	}
	m := &member{ring: newRing(), log: &journal{}}
	m.Peer = New(source, b, Self{Cluster: cluster, Node: name, Started: time.Now()}, Options{Log: m.log.logger()})
	m.Exchange(m.ring)
	m.On("history", func() { m.hints.Add(1) })
	m.Hear("audit-heads", func(from identity.Identity, node string, body []byte) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.words = append(m.words, from.Name+" "+node+" "+string(body))
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	run(t, m.Peer)
	return m
}

func (m *member) heard() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.words)
}

// spy reads and writes everything.
type spy struct {
	conn *nats.Conn

	mu  sync.Mutex
	got []captured
}

type captured struct {
	subject string
	data    []byte
}

func newSpy(t *testing.T, url string) *spy {
	t.Helper()
	dial := func() *nats.Conn {
		conn, err := nats.Connect(url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		return conn
	}
	// Two connections: a client that writes more than the server takes does not read meanwhile.
	s, conn := &spy{conn: dial()}, dial()
	if _, err := conn.Subscribe(">", func(m *nats.Msg) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, captured{m.Subject, bytes.Clone(m.Data)})
	}); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *spy) seen() []captured {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *spy) count(part string) (n int) {
	for _, c := range s.seen() {
		if strings.Contains(c.subject, part) {
			n++
		}
	}
	return n
}

func (s *spy) say(subject string, data []byte) { _ = s.conn.Publish(subject, data) }

// searchCanaries looks for the material in all that went over the wire.
func searchCanaries(t *testing.T, s *spy, keys map[string][]byte) {
	t.Helper()
	forms := make(map[string][]byte)
	for id, material := range keys {
		forms[id+" as bytes"] = material
		forms[id+" as bytes, half"] = material[:16]
		forms[id+" in hex"] = []byte(hex.EncodeToString(material))
		forms[id+" in capital hex"] = bytes.ToUpper(forms[id+" in hex"])
		for shift := range 3 { // wherever it begins in what was encoded
			for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
				text := encoding.EncodeToString(append(make([]byte, shift), material...))
				forms[fmt.Sprintf("%s in %s at %d", id, name, shift)] = []byte(text[4 : len(text)-4])
			}
		}
	}
	seen := s.seen()
	if len(seen) < 100 {
		t.Errorf("only %d messages were read", len(seen))
	}
	for _, name := range slices.Sorted(maps.Keys(forms)) {
		for _, c := range seen {
			if bytes.Contains(c.data, forms[name]) {
				t.Fatalf("%s travelled in the clear under %s", name, c.subject)
			}
		}
	}
}
