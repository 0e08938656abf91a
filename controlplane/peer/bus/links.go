package bus

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

const (
	maxLinks   = 256
	settle     = tlsTimeout + time.Second // until a handshake that began before is over
	longestNap = time.Hour
	retryCut   = time.Second // after the server did not take the list
)

var errTooMany = errors.New("bus: more certificates have opened routes than a cluster has nodes")

// links knows whose certificates the server's routes were opened with, on either side.
type links struct {
	source *mtls.Source
	tls    *tls.Config

	mu   sync.Mutex
	open map[[sha256.Size]byte]tls.ConnectionState // by the leaf's hash; guarded by mu; at most maxLinks
}

func newLinks(source *mtls.Source) *links {
	l := &links{source: source, open: make(map[[sha256.Size]byte]tls.ConnectionState)}
	// The server uses one configuration for both sides: as it stands when it dials, and what
	// GetConfigForClient returns when it is dialled. Both follow the files.
	config, accept := source.Client("", identity.ControlPlane), source.Server(identity.ControlPlane)
	config.VerifyConnection = l.noting(config.VerifyConnection)
	config.ClientAuth = accept.ClientAuth
	config.GetCertificate = accept.GetCertificate
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		current, err := accept.GetConfigForClient(hello)
		if err != nil {
			return nil, err
		}
		current.VerifyConnection = l.noting(current.VerifyConnection)
		return current, nil
	}
	l.tls = config
	return l
}

// config is always the same one: a reload that changes it would be a change to the server.
func (l *links) config() *tls.Config { return l.tls }

// noting remembers who was let in.
func (l *links) noting(verify func(tls.ConnectionState) error) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		if err := verify(cs); err != nil {
			return err
		}
		leaf := sha256.Sum256(cs.PeerCertificates[0].Raw)
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.open) >= maxLinks {
			return errTooMany
		}
		l.open[leaf] = tls.ConnectionState{Version: cs.Version, PeerCertificates: cs.PeerCertificates}
		return nil
	}
}

// fallen finds those who would not be let in today; they are to be forgotten when they are cut. When there are any,
// stay holds the keys of the others.
func (l *links) fallen() (stay server.PinnedCertSet, refused map[[sha256.Size]byte]error, next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next = time.Now().Add(longestNap)
	stay = server.PinnedCertSet{hex.EncodeToString(make([]byte, sha256.Size)): {}} // an empty set lets everybody in
	refused = map[[sha256.Size]byte]error{}
	var gone []string
	for leaf, cs := range l.open {
		if err := l.source.Check(cs, identity.ControlPlane); err != nil {
			refused[leaf] = err
			gone = append(gone, keyOf(cs))
			continue
		}
		stay[keyOf(cs)] = struct{}{}
		if end := cs.PeerCertificates[0].NotAfter.Add(time.Second); end.Before(next) {
			next = end
		}
	}
	for _, key := range gone {
		delete(stay, key) // one key in two certificates: the one that stays comes back by itself
	}
	return stay, refused, next
}

// forget drops those who were cut.
func (l *links) forget(cut map[[sha256.Size]byte]error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for leaf := range cut {
		delete(l.open, leaf)
	}
}

func keyOf(cs tls.ConnectionState) string {
	sum := sha256.Sum256(cs.PeerCertificates[0].RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// watch cuts the links of those who would not be let in today, after every change of the certificates or
// CRLs and when a certificate ends. A handshake that overlaps a change may have been judged by the old
// list and become a link after the first cut, so a second one follows.
func (e *embedded) watch(ctx context.Context) {
	var again time.Time // of the second cut; zero: none is due
	for {
		changed := e.links.source.Changed()
		second := !again.IsZero() && !time.Now().Before(again)
		if second {
			again = time.Time{}
		}
		cut, next := e.cutFallen(second)
		if cut && !second {
			again = time.Now().Add(settle)
		}
		if !again.IsZero() && again.Before(next) {
			next = again
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// cutFallen has the server close the links of all who may not stay: it does so when the list of pinned
// certificates changes. Without the list again, everybody else connects as before.
func (e *embedded) cutFallen(anyway bool) (cut bool, next time.Time) {
	stay, refused, next := e.links.fallen()
	for _, err := range refused {
		e.log.Warn("NATS route cut: the node's certificate is no longer believed", "reason", verdict.Explain(err).Error())
	}
	if len(refused) == 0 && !anyway {
		return false, next
	}
	e.reloadMu.Lock()
	defer e.reloadMu.Unlock()
	for _, pinned := range []server.PinnedCertSet{stay, nil} {
		if err := e.reload(pinned); err != nil {
			e.log.Error("NATS routes of nodes that are no longer believed could not be cut, which is tried again", "err", err)
			return false, time.Now().Add(retryCut)
		}
	}
	e.links.forget(refused)
	return true, next
}
