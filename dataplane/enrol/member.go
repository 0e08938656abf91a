package enrol

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/telemetry"
)

// Holdings is what this node keeps under its key.
type Holdings interface {
	// Rewrap seals all that is kept for the key in a file. What is kept can be opened with that one alone once it has
	// returned nil, and with one of the former ones too until then.
	Rewrap(key string, former []string) error
	// Erase destroys what is kept, and stops serving it. It goes as far as it can whatever fails.
	Erase(order Wiped) error
}

// Asker has another key certified.
type Asker interface {
	// Renew asks one node of the control plane after another. It returns how the node that answered proved itself.
	Renew(ctx context.Context, request []byte) (*enrolv1.Issued, tls.ConnectionState, error)
}

// Options tunes a Member. The zero value is right for production.
type Options struct {
	FirstPause time.Duration // after a renewal that failed; default 5 s, doubled each time
	Spread     time.Duration // within which a renewal that was ordered begins; default 10 s
	Log        *slog.Logger  // default: discard
}

// Member is this node while it is one of its cluster. It is safe for concurrent use.
type Member struct {
	folder   *Folder
	source   *mtls.Source
	joined   bool   // the identity is the folder's, and not files that an operator keeps
	certFile string // where the certificate lies
	holdings Holdings
	options  Options
	relink   func()
	orders   chan string   // renewals that were asked for; the newest reason is enough
	ended    chan struct{} // closed when this node was shut out

	changing sync.Mutex // held while the folder's generation changes
	wiped    atomic.Pointer[Wiped]

	mu       sync.Mutex
	failures int       // of renewals, since the last that succeeded; guarded by mu
	failed   uint64    // of renewals, since the start; guarded by mu
	problem  string    // why the last renewal failed; guarded by mu
	distrust string    // why the last bundle was not taken; guarded by mu
	due      time.Time // of the next renewal; guarded by mu
	dueOf    string    // serial that due is about; guarded by mu
}

// Joined makes the Member of an identity that lies in the folder.
func Joined(folder *Folder, source *mtls.Source, holdings Holdings, options Options) *Member {
	return newMember(folder, source, folder.CertFile(), true, holdings, options)
}

// Appointed makes the Member of an identity whose files an operator keeps: nothing of it is renewed here, and none of
// the files is touched. The folder notes an order that ends it.
func Appointed(folder *Folder, source *mtls.Source, certFile string, holdings Holdings, options Options) *Member {
	return newMember(folder, source, certFile, false, holdings, options)
}

func newMember(folder *Folder, source *mtls.Source, certFile string, joined bool, holdings Holdings, options Options) *Member {
	if options.FirstPause <= 0 {
		options.FirstPause = 5 * time.Second
	}
	if options.Spread <= 0 {
		options.Spread = 10 * time.Second
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	return &Member{
		folder: folder, source: source, joined: joined, certFile: certFile, holdings: holdings, options: options,
		relink: func() {}, orders: make(chan string, 1), ended: make(chan struct{}),
	}
}

// OnRenewal has relink called when another certificate is in use. It is for the time before Run.
func (m *Member) OnRenewal(relink func()) { m.relink = relink }

// Ended is closed once this node was shut out.
func (m *Member) Ended() <-chan struct{} { return m.ended }

// TrustSequence names the bundle that this node believes by; 0 where an operator's files say whom to believe.
func (m *Member) TrustSequence() uint64 {
	if !m.joined {
		return 0
	}
	number, err := m.folder.current()
	if err != nil || number == 0 {
		return 0
	}
	held, err := m.folder.recordOf(number)
	if err != nil {
		return 0
	}
	return held.TrustSequence
}

// Trust takes a bundle, durably. One under which this node could not link any more is refused: neither its own
// certificate nor the control plane node that gave it may fall outside.
func (m *Member) Trust(bundle *enrolv1.Trust, from tls.ConnectionState) error {
	err := m.trust(bundle, from)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.distrust = ""
	if err != nil {
		m.distrust = err.Error()
	}
	return err
}

func (m *Member) trust(bundle *enrolv1.Trust, from tls.ConnectionState) error {
	if !m.joined {
		return errors.New("whom this node believes is in its cluster_ca_cert, which its operator keeps")
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	return m.folder.locked(func() error {
		before, held, err := m.folder.held()
		if err != nil {
			return err
		}
		defer held.key.Wipe()
		merged, err := merge(held.bundle(), bundle)
		if err != nil {
			return err
		}
		if same(held.bundle(), merged) {
			return nil
		}
		held.believe(merged)
		number, err := m.folder.add(held, func(source *mtls.Source) error { return usable(source, from, time.Time{}) })
		if err != nil {
			return err
		}
		if err := m.folder.use(number, before); err != nil {
			return err
		}
		m.reload()
		m.options.Log.Log(context.Background(), telemetry.LevelNotice, "another trust is in use", "sequence", merged.GetSequence(),
			"authorities", len(merged.GetAuthorities()), "lists", len(merged.GetRevocationLists()))
		return m.folder.destroy(func(name string) bool { return name == nameOf(before) }) // the key is in the new one too
	})
}

// reload has the source see what has changed. What it cannot use is logged by the source, which looks again.
func (m *Member) reload() {
	if err := m.source.Reload(); err != nil {
		m.options.Log.Error("what was written is not usable", "folder", m.folder.dir, "error", err)
	}
}

// Wipe follows an order to erase everything, when it is one: signed by a control plane, about this node, and about a
// certificate that it has. It returns nil once this node is no member any more.
func (m *Member) Wipe(order *enrolv1.SignedWipe) error {
	wipe, signer, err := enrolment.ProvenWipe(m.source, order)
	if err != nil {
		return fmt.Errorf("the order is not proven: %w", err)
	}
	id := m.source.Identity()
	if wipe.GetIdentity() != id.String() {
		return fmt.Errorf("the order is for %s, and this is %s", wipe.GetIdentity(), id)
	}
	serials := m.serials(id)
	w := Wiped{
		Identity: id.String(), Serials: serials, RevokedAt: wipe.GetRevokedAt(), Reason: wipe.GetReason(), By: signer.String(), WipedAt: time.Now().Unix(),
	}
	if !w.Concerns(wipe.GetSerial()) {
		return fmt.Errorf("the order is about serial %s, which is none of this node's: it may have been meant for an enrolment before this one", wipe.GetSerial())
	}
	m.leave(w, wipe.GetSerial())
	return nil
}

// Listed ends this node's membership when its certificate is on a list of revoked ones, and says whether it is. A list is
// as good as an order: the certificate's issuer has signed it.
func (m *Member) Listed() bool {
	w := Listed(m.source)
	if w == nil {
		return false
	}
	serial := w.Serials[0]
	w.Serials = m.serials(m.source.Identity())
	m.leave(*w, serial)
	return true
}

// Listed returns what ends the membership of a node whose certificate is on a list of revoked ones, nil where it is on none.
func Listed(source *mtls.Source) *Wiped {
	at, by, revoked := source.Revoked()
	if !revoked {
		return nil
	}
	id := source.Identity()
	return &Wiped{
		Version: wipedVersion, Identity: id.String(), Serials: []string{id.Serial}, RevokedAt: at.Unix(), Reason: "its certificate is on its issuer's list of revoked ones", By: by,
		WipedAt: time.Now().Unix(),
	}
}

// leave erases what this node holds, once.
func (m *Member) leave(w Wiped, serial string) {
	m.changing.Lock()
	defer m.changing.Unlock()
	if m.wiped.Swap(&w) != nil {
		return
	}
	close(m.ended)
	m.options.Log.Error("this node was shut out of its cluster: it erases what it holds and serves no more", "identity", w.Identity,
		"serial", serial, "revoked_at", stamp(time.Unix(w.RevokedAt, 0)), "reason", w.Reason, "by", w.By)
	if err := End(m.folder, m.holdings, m.joined, w); err != nil {
		m.options.Log.Error("not all could be erased; what is left is erased at the next start", "error", err)
	}
	m.options.Log.Error("erased", "advice", w.Advice(m.joined))
}

// End notes an order and erases what this node holds, its key too where that is the folder's. What a crash cut short is
// done by calling it again.
func End(folder *Folder, holdings Holdings, joined bool, w Wiped) error {
	failures := []error{folder.noteWiped(w), holdings.Erase(w)}
	if joined {
		failures = append(failures, folder.Discard())
	}
	return errors.Join(failures...)
}

// serials are those of every certificate that this node may have linked with.
func (m *Member) serials(id identity.Identity) []string {
	serials := []string{id.Serial}
	if !m.joined {
		return serials
	}
	if number, err := m.folder.current(); err == nil && number > 0 {
		if held, err := m.folder.recordOf(number); err == nil {
			serials = append(serials, held.FormerSerials...)
		}
	}
	return serials
}

// leaf reads the certificate in use.
func (m *Member) leaf() (*x509.Certificate, error) { return leafIn(m.certFile) }
