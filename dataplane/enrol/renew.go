package enrol

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/telemetry"
)

const (
	longestPause = time.Hour
	// jitterShare of a certificate's life is the most by which a renewal comes earlier or later than at 2/3 of it.
	jitterShare = 30
)

// Renew gets another certificate soon. An identity that an operator keeps is left to him.
func (m *Member) Renew(reason string) {
	if !m.joined {
		m.options.Log.Warn("the control plane asks for another certificate, and an operator keeps this one: issue one, or join with keepgate-dp join",
			"reason", reason, "cluster_cert", m.certFile)
		return
	}
	select {
	case m.orders <- reason:
	default: // one is to come
	}
}

// Run renews the certificate at two thirds of its life, and when that is asked for, until ctx ends or this node is shut
// out. asker may not be nil where the identity is the folder's.
func (m *Member) Run(ctx context.Context, asker Asker) error {
	for {
		timer := time.NewTimer(m.untilRenewal(time.Now()))
		reason := "two thirds of its life are over"
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-m.ended:
			timer.Stop()
			<-ctx.Done() // the process stays, to say what happened
			return ctx.Err()
		case reason = <-m.orders:
			timer.Stop()
			if !lifecycle.Pause(ctx, rand.N(m.options.Spread)) { // the same order went to many
				return ctx.Err()
			}
		case <-timer.C:
		}
		if !m.joined {
			continue
		}
		err := m.renew(ctx, asker)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.note(err, reason)
	}
}

// untilRenewal is the time to the next attempt.
func (m *Member) untilRenewal(now time.Time) time.Duration {
	leaf, err := m.leaf()
	if err != nil || !m.joined {
		return longestPause
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failures > 0 {
		return pauseAfter(m.failures, m.options.FirstPause, leaf.NotAfter.Sub(now))
	}
	if serial := identity.SerialText(leaf.SerialNumber); m.dueOf != serial {
		m.due, m.dueOf = dueAt(leaf, m.given()), serial
	}
	return max(m.due.Sub(now), 0)
}

// dueAt is at two thirds of the time that a certificate had left when it was given, a little earlier or later, so that
// what joined together does not renew together. A certificate begins before it is given, for clocks that differ: of a
// short one, two thirds of its whole life could be over by then.
func dueAt(leaf *x509.Certificate, given time.Time) time.Time {
	if given.Before(leaf.NotBefore) || given.After(leaf.NotAfter) {
		given = leaf.NotBefore
	}
	life := leaf.NotAfter.Sub(given)
	at := given.Add(life / 3 * 2)
	if spread := life / jitterShare; spread > 0 {
		at = at.Add(rand.N(2*spread) - spread)
	}
	return at
}

// given is when this node got the certificate in use; the zero time where that is not known.
func (m *Member) given() time.Time {
	number, err := m.folder.current()
	if err != nil || number == 0 {
		return time.Time{}
	}
	held, err := m.folder.recordOf(number)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(max(held.JoinedAt, held.RenewedAt), 0)
}

// pauseAfter doubles with every failure, to a tenth of what is left of the certificate's life and an hour at most.
func pauseAfter(failures int, first, left time.Duration) time.Duration {
	pause := first << min(failures-1, 20)
	if left > 0 {
		pause = min(pause, max(left/10, first))
	}
	if pause > longestPause || pause <= 0 {
		pause = longestPause
	}
	return pause/2 + rand.N(pause)
}

// renew has a new key certified and puts it into use: the generation is durable, then what is kept is sealed for the new
// key, then it is used, and then the keys before it are destroyed.
func (m *Member) renew(ctx context.Context, asker Asker) error {
	if m.wiped.Load() != nil {
		return nil
	}
	key, text, request, err := newKey(m.source.Identity().Name)
	if err != nil {
		return err
	}
	defer text.Wipe()
	issued, from, err := asker.Renew(ctx, request)
	if err != nil {
		return err
	}
	if _, err := leafOf(issued, key); err != nil {
		return err
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	if m.wiped.Load() != nil {
		return nil
	}
	return m.folder.locked(func() error {
		before, held, err := m.folder.held()
		if err != nil {
			return err
		}
		defer held.key.Wipe()
		next := m.next(held, issued)
		next.key = text
		number, err := m.folder.add(next, func(source *mtls.Source) error {
			if was, is := m.source.Identity().String(), source.Identity().String(); was != is {
				return fmt.Errorf("the certificate is for %s, and this is %s", is, was)
			}
			return usable(source, from, time.Now())
		})
		if err != nil {
			return err
		}
		return m.takeOver(number, before)
	})
}

// next is the generation after held, without its key.
func (m *Member) next(held material, issued *enrolv1.Issued) material {
	next := material{cert: encode("CERTIFICATE", issued.GetChain()), ca: held.ca, crl: held.crl, record: held.record}
	next.record.RenewedAt = time.Now().Unix()
	former := append([]string{m.source.Identity().Serial}, held.record.FormerSerials...)
	next.record.FormerSerials = former[:min(len(former), maxFormer)]
	if issued.GetTrust() == nil || issued.GetTrust().GetSequence() < held.record.TrustSequence {
		return next // what does not fit into an answer is told over the link
	}
	merged, err := merge(held.bundle(), issued.GetTrust())
	if err != nil {
		m.options.Log.Warn("the trust that came with the certificate is not taken; this node goes on with its own", "error", err)
		return next
	}
	next.believe(merged)
	return next
}

// takeOver puts a generation into use that is durable already.
func (m *Member) takeOver(number, before int) error {
	numbers, err := m.folder.generations()
	if err != nil {
		return err
	}
	var former []string
	for _, one := range slices.Backward(numbers) {
		if one != number {
			former = append(former, m.folder.path(one, keyName))
		}
	}
	if err := m.holdings.Rewrap(m.folder.path(number, keyName), former); err != nil {
		return fmt.Errorf("sealing the local store for the new key: %w", err) // all keys stay until one time succeeds
	}
	if err := m.folder.use(number, before); err != nil {
		return err
	}
	m.reload()
	m.relink()
	return m.folder.destroy(func(name string) bool {
		one, ok := numberOf(name)
		return ok && one != number
	})
}

// note keeps and logs what came of a renewal.
func (m *Member) note(err error, reason string) {
	if err == nil {
		m.mu.Lock()
		m.failures, m.problem = 0, ""
		m.mu.Unlock()
		if m.wiped.Load() == nil {
			id := m.source.Identity()
			m.options.Log.Log(context.Background(), telemetry.LevelNotice, "renewed the certificate for the control plane",
				"identity", id.String(), "serial", id.Serial, "expires", stamp(id.NotAfter), "reason", reason)
		}
		return
	}
	m.mu.Lock()
	m.failures++
	m.failed++
	m.problem = err.Error()
	m.mu.Unlock()
	expires := m.source.Identity().NotAfter
	if advice := m.adviceAt(time.Now()); advice != "" {
		m.options.Log.Error("the certificate for the control plane has expired and was not renewed; this node serves what it holds", "expired", stamp(expires), "error", err, "advice", advice)
		return
	}
	m.options.Log.Warn("the certificate for the control plane was not renewed; trying again", "expires", stamp(expires), "error", err)
}

var errNobody = errors.New("no node of the control plane renewed the certificate")
