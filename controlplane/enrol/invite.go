package enrol

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/access"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/secret"
)

// How long a token may wait to be used.
const (
	DefaultExpiry = time.Hour
	MaxExpiry     = 7 * 24 * time.Hour
	minExpiry     = time.Second
	maxTokens     = 10_000 // open ones: who can make tokens must not fill the database
)

// Invitation says who may join.
type Invitation struct {
	Environment string
	Name        string        // "": the node says what it is called
	Expires     time.Duration // 0: DefaultExpiry
}

// Invite makes a token. Its text is shown once and kept nowhere.
func (s *Service) Invite(ctx context.Context, in Invitation) (text secret.Bytes, made Token, err error) {
	const op = "enrol.Invite"
	if s.options.Refusal != nil {
		if err := s.options.Refusal(); err != nil {
			return text, made, err
		}
	}
	if in.Expires == 0 {
		in.Expires = DefaultExpiry
	}
	if in.Expires < minExpiry || in.Expires > MaxExpiry {
		return text, made, fault.Newf(fault.Invalid, op, "expires", "a token may wait between a second and seven days, not %v", in.Expires)
	}
	if err := s.mayJoin(ctx, op, in.Environment, in.Name); err != nil {
		return text, made, err
	}
	if err := s.authority.Ready(); err != nil { // the data plane would be told so an hour later
		return text, made, err
	}
	root, err := s.options.Root()
	if err != nil {
		return text, made, err
	}
	token, err := enrolment.NewToken(uuid.NewString(), root)
	if err != nil {
		return text, made, fault.New(fault.Internal, op, tableTokens, err)
	}
	now, revoked := time.Now(), int64(0)
	if in.Name != "" {
		record, _, err := s.registry.Fresh(ctx, in.Environment, in.Name)
		if err != nil {
			return text, made, err
		}
		revoked = record.RevokedAt
	}
	caller, _ := access.Of(ctx)
	made = Token{
		ID: token.ID, Hash: token.Hash(), Environment: in.Environment, Name: in.Name,
		CreatedAt: max(now.Unix(), revoked+1), // after a revocation of this second, or by a faster clock
		CreatedBy: caller.Name, ExpiresAt: now.Add(in.Expires).Unix(),
	}
	if err := s.record(ctx, "enrol.token.create", "join-token/"+made.ID, "environment", in.Environment, "name", in.Name,
		"expires", time.Unix(made.ExpiresAt, 0).UTC().Format(time.RFC3339)); err != nil {
		return text, made, err
	}
	piece := catalog.Piece{At: catalog.Address{Table: tableTokens, Key: made.ID}, Edit: func(proto.Message) (schema.Document, error) { return made.doc() }}
	if _, err := s.catalog.Together(ctx, piece); err != nil {
		return text, made, err
	}
	s.options.Committed()
	return token.Text(), made, nil
}

// mayJoin looks at where somebody is to join, and under which name.
func (s *Service) mayJoin(ctx context.Context, op, environment, name string) error {
	who := identity.Identity{Role: identity.DataPlane, Organisation: s.options.Organisation, Environment: environment, Name: name}
	if name == "" {
		who.Name = "any"
	}
	if err := who.Validate(); err != nil {
		return fault.New(fault.Invalid, op, "data plane", err)
	}
	if name != "" && s.options.Allows != nil {
		if err := s.options.Allows(name); err != nil {
			return fault.New(fault.Invalid, op, "data plane", err)
		}
	}
	_, err := s.catalog.Get(ctx, catalog.Address{Table: tableEnvironments, Key: environment})
	if fault.KindOf(err) == fault.NotFound {
		return fault.Newf(fault.NotFound, op, "environments", "there is no environment %q; keepgate-cp environments list names them", environment)
	}
	if isKey(err) { // its fingerprint key does not open; that it is there is known
		return nil
	}
	return err
}

// Tokens lists those that are kept, the newest first. Rows that do not open are left out and counted.
func (s *Service) Tokens(ctx context.Context) (list []Token, unreadable int, err error) {
	page, err := s.catalog.List(ctx, catalog.Query{Table: tableTokens})
	if err != nil {
		return nil, 0, err
	}
	unreadable = len(page.Undecryptable)
	for _, m := range page.Entities {
		t, err := tokenOf(m)
		if err != nil {
			unreadable++
			continue
		}
		list = append(list, t)
	}
	return sorted(list), unreadable, nil
}

// Withdraw makes a token worthless that nobody has used.
func (s *Service) Withdraw(ctx context.Context, id string) error {
	const op = "enrol.Withdraw"
	if parsed, err := uuid.Parse(id); err != nil || parsed.String() != id {
		return fault.Newf(fault.NotFound, op, tableTokens, "there is no join token of this id")
	}
	if err := s.record(ctx, "enrol.token.withdraw", "join-token/"+id); err != nil {
		return err
	}
	piece := catalog.Piece{At: catalog.Address{Table: tableTokens, Key: id}, Edit: func(present proto.Message) (schema.Document, error) {
		if present == nil {
			return nil, fault.Newf(fault.NotFound, op, tableTokens, "there is no join token of this id")
		}
		t, err := tokenOf(present)
		if err != nil {
			return nil, err
		}
		if t.Used != nil {
			return nil, fault.Newf(fault.Conflict, op, tableTokens, "the token was used at %s by %s; to shut that data plane out: keepgate-cp fleet revoke",
				stamp(t.Used.At), t.Used.Identity)
		}
		if t.WithdrawnAt == 0 {
			t.WithdrawnAt = time.Now().Unix()
		}
		return t.doc()
	}}
	if _, err := s.catalog.Together(ctx, piece); err != nil {
		return err
	}
	s.options.Committed()
	return nil
}

func stamp(at int64) string { return fmt.Sprint(time.Unix(at, 0).UTC().Format(time.RFC3339)) }
