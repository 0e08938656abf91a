package enrol

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/schema"
)

// refusal is why nothing is issued, in words for whoever runs the command.
type refusal struct {
	reason string
	again  bool // the same call may succeed later, and nothing was used up
	guess  bool // the token is nobody's, or was not looked for
}

func (r *refusal) Error() string { return r.reason }

func refuse(format string, args ...any) error { return &refusal{reason: fmt.Sprintf(format, args...)} }

func later(format string, args ...any) error {
	return &refusal{reason: fmt.Sprintf(format, args...), again: true}
}

var errGuess = &refusal{reason: "this control plane has no such token: was it copied whole, and is this the cluster that it was made in?", guess: true}

// joining is one call.
type joining struct {
	from    netip.Addr
	token   enrolment.Token
	hash    string
	request request
	who     identity.Identity
	said    *enrolv1.JoinRequest
}

// Join answers one that wants to join. It never fails: a refusal says why.
func (s *Service) Join(ctx context.Context, from netip.Addr, said *enrolv1.JoinRequest) *enrolv1.JoinResponse {
	ctx = audit.WithActor(ctx, audit.Actor{Client: from.String(), Via: "join"})
	issued, err := s.join(ctx, &joining{from: from, said: said})
	if err == nil {
		return &enrolv1.JoinResponse{Outcome: &enrolv1.JoinResponse_Issued{Issued: issued}}
	}
	refused, ok := errors.AsType[*refusal](err)
	if !ok {
		refused = s.unforeseen(err)
	}
	return &enrolv1.JoinResponse{Outcome: &enrolv1.JoinResponse_Refusal{Refusal: &enrolv1.Refusal{Reason: refused.reason, Again: refused.again}}}
}

// unforeseen says of a fault on this side no more than a stranger may know.
func (s *Service) unforeseen(err error) *refusal {
	s.options.Log.Error("a data plane could not join", "error", err)
	if kind := fault.KindOf(err); kind == fault.Unavailable || kind == fault.Conflict || errors.Is(err, context.DeadlineExceeded) {
		return &refusal{reason: "the control plane cannot certify anybody now, its log says why; the same command may work later", again: true}
	}
	return &refusal{reason: "the control plane could not certify the node; its log says why"}
}

func (s *Service) join(ctx context.Context, j *joining) (*enrolv1.Issued, error) {
	if wait := s.failures.Held(j.from, [sha256.Size]byte{}, time.Now()); wait > 0 { // before anything that is noted or counted
		return nil, later("too many wrong tokens came from there; try again in %v", wait.Round(time.Second)+time.Second)
	}
	var err error
	if j.token, err = enrolment.ParseToken(j.said.GetToken()); err != nil {
		return nil, s.refused(ctx, j, &refusal{reason: err.Error(), guess: true})
	}
	j.hash = j.token.Hash()
	if s.options.Refusal != nil {
		if err := s.options.Refusal(); err != nil { // nobody has looked whose token it is
			return nil, s.refused(ctx, j, &refusal{reason: fault.Text(err), guess: true})
		}
	}
	t, err := s.find(ctx, j)
	if err != nil {
		return nil, s.refused(ctx, j, err)
	}
	if issued, err := s.prepare(ctx, j, t); issued != nil || err != nil {
		return issued, s.refused(ctx, j, err)
	}
	issued, err := s.issue(ctx, j)
	return issued, s.refused(ctx, j, err)
}

// find looks the token up. Whoever does not know its secret learns nothing about it.
func (s *Service) find(ctx context.Context, j *joining) (Token, error) {
	m, err := s.catalog.Get(ctx, catalog.Address{Table: tableTokens, Key: j.token.ID})
	if fault.KindOf(err) == fault.NotFound {
		return Token{}, errGuess
	}
	if err != nil {
		return Token{}, err
	}
	t, err := tokenOf(m)
	if err == nil && !t.proves(j.hash) {
		err = errGuess
	}
	return t, err
}

// usable says whether a token may be used now.
func (s *Service) usable(t Token, now time.Time) error {
	switch t.State(now) {
	case Used:
		return refuse("the token was used at %s, by %s from %s. If that node has no certificate, because the answer did not reach it, invite it again: "+
			"keepgate-cp fleet invite --environment %s --name %s", stamp(t.Used.At), t.Used.Identity, t.Used.From, t.Environment, nameOf(t.Used.Identity))
	case Withdrawn:
		return refuse("the token was withdrawn at %s; make another with keepgate-cp fleet invite", stamp(t.WithdrawnAt))
	case Expired:
		return refuse("the token expired at %s, and the control plane's clock says %s; make another with keepgate-cp fleet invite", stamp(t.ExpiresAt), stamp(now.Unix()))
	}
	if identity := s.registry.JoinedWith(t.ID); identity != "" {
		return refuse("the token was used by %s; that the database says otherwise is not to be believed", identity)
	}
	return nil
}

// prepare looks at everything that can be wrong before anything is done. It returns what was issued before to the same
// key by the same token.
func (s *Service) prepare(ctx context.Context, j *joining, t Token) (again *enrolv1.Issued, err error) {
	if j.request, err = parseRequest(j.said.GetRequest()); err != nil {
		return nil, refuse("%s", err)
	}
	if again, err = s.repeated(ctx, j, t); again != nil || err != nil {
		return again, err
	}
	if err := s.usable(t, time.Now()); err != nil {
		return nil, err
	}
	name, err := nameFor(t, j.said)
	if err != nil {
		return nil, err
	}
	j.who = identity.Identity{Role: identity.DataPlane, Organisation: s.options.Organisation, Environment: t.Environment, Name: name}
	if err := s.mayJoin(ctx, "enrol.Join", t.Environment, name); err != nil {
		if kind := fault.KindOf(err); kind == fault.NotFound || kind == fault.Invalid {
			err = refuse("%s", fault.Text(err))
		}
		return nil, err
	}
	if err := j.request.asksFor(j.who); err != nil {
		return nil, refuse("%s", err)
	}
	if err := s.authority.Ready(); err != nil {
		return nil, later("%s", fault.Text(err))
	}
	return nil, nil
}

// repeated is the answer that did not reach a node: to the key for which the token was used, and while it is good.
func (s *Service) repeated(ctx context.Context, j *joining, t Token) (*enrolv1.Issued, error) {
	if t.Used == nil || t.Used.Key != j.request.key {
		return nil, nil
	}
	who, err := identity.Parse(t.Used.Identity)
	if err != nil {
		return nil, nil
	}
	d, found, err := s.registry.Fresh(ctx, who.Environment, who.Name)
	if err != nil {
		return nil, err
	}
	if _, held := d.Find(t.Used.Serial); !found || !held {
		return nil, nil
	}
	return s.answer(t.Used.Chain), nil
}

// answer is a certificate with whom to believe. Lists of revoked certificates that are too long for a frame are left
// out, under a sequence which says that the whole is still to be told.
func (s *Service) answer(chain [][]byte) *enrolv1.Issued {
	trust, _ := s.authority.Bundle()
	issued := &enrolv1.Issued{Chain: chain, Trust: trust}
	if proto.Size(issued) > enrolment.MaxFrame-frameRoom && trust.GetSequence() > 0 {
		issued.Trust = &enrolv1.Trust{Sequence: trust.GetSequence() - 1, Authorities: trust.GetAuthorities()}
	}
	return issued
}

// frameRoom is left to what stands around an answer.
const frameRoom = 1 << 10

// issue certifies the key. The certificate goes on record, and the token is used up, before anyone holds it.
func (s *Service) issue(ctx context.Context, j *joining) (*enrolv1.Issued, error) {
	chain, leaf, err := s.authority.Certify(j.who, j.request.csr.PublicKey, s.options.Validity)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	certificate := nodes.Certificate{Serial: identity.SerialText(leaf.SerialNumber), IssuedAt: now.Unix(), NotAfter: leaf.NotAfter.Unix()}
	key := nodes.Key(j.who.Environment, j.who.Name)
	if err := s.record(ctx, "enrol.join", "data-plane/"+key, "token", j.token.ID, "serial", certificate.Serial,
		"expires", stamp(certificate.NotAfter), "hostname", printable(j.said.GetHostname())); err != nil {
		return nil, err
	}
	var used, lost Token
	took := catalog.Piece{At: catalog.Address{Table: tableTokens, Key: j.token.ID}, Edit: func(present proto.Message) (schema.Document, error) {
		if present == nil {
			return nil, errGuess
		}
		t, err := tokenOf(present)
		if err != nil {
			return nil, err
		}
		if !t.proves(j.hash) {
			return nil, errGuess
		}
		if err := s.usable(t, time.Now()); err != nil {
			lost = t
			return nil, err
		}
		t.Used = &Use{At: now.Unix(), From: j.from.String(), Identity: j.who.String(), Serial: certificate.Serial, Key: j.request.key, Chain: chain}
		used = t
		return t.doc()
	}}
	found, err := s.catalog.Together(ctx, took, nodes.Piece(key, func(d nodes.Document) (nodes.Document, error) {
		if err := free(d, used, now); err != nil {
			return d, err
		}
		return d.Join(j.who, j.token.ID, certificate), nil
	}))
	if again, repeatErr := s.repeated(ctx, j, lost); again != nil && repeatErr == nil {
		return again, nil // the same node was faster at another control plane node
	}
	if err != nil {
		return nil, err
	}
	s.registry.Took(found...)
	s.options.Log.Info("a data plane joined", "data_plane", j.who.String(), "serial", certificate.Serial, "token", j.token.ID, "from", j.from.String())
	return s.answer(chain), nil
}

// free says whether a token gives a name. One that names nobody must not take another data plane's identity away, and
// none brings one back that was shut out after the token was made: whoever took the node may have that too.
func free(d nodes.Document, t Token, now time.Time) error {
	switch {
	case d.RevokedAt >= t.CreatedAt && d.RevokedAt > 0:
		return refuse("the data plane of this name was revoked at %s, after the token was made; to let it come back invite it anew: "+
			"keepgate-cp fleet invite --environment %s --name %s", stamp(d.RevokedAt), t.Environment, d.Who().Name)
	case t.Name != "" || d.Sequence == 0:
		return nil
	case d.RevokedAt > 0 && len(d.Certificates) == 0:
		return refuse("a data plane of this name was revoked at %s; to let it come back invite it by name: keepgate-cp fleet invite --environment %s --name %s",
			stamp(d.RevokedAt), t.Environment, d.Who().Name)
	case len(d.Living(now)) > 0:
		return refuse("there is a data plane of this name already; join under another one (--name), or invite this one by name to replace it: "+
			"keepgate-cp fleet invite --environment %s --name %s", t.Environment, d.Who().Name)
	}
	return nil
}
