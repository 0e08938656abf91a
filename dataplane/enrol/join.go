package enrol

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"slices"
	"syscall"
	"time"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/secret"
)

// Wish is what a node says when it joins.
type Wish struct {
	Token    enrolment.Token
	Nodes    []string // of the control plane, host:port
	Dial     Dial
	Name     string // "" leaves it to the token, or to the control plane
	Hostname string
	Version  string
	Again    bool          // replace an enrolment that is alive
	Pause    time.Duration // between rounds over the nodes while one of them asks for patience; default 1 s
}

// Dial opens a connection to host:port.
type Dial = func(ctx context.Context, address string) (net.Conn, error)

// Result is what came of a join.
type Result struct {
	Identity identity.Identity
	Node     string              // the control plane node that answered
	TLS      tls.ConnectionState // how it proved itself
	Replaced bool
}

const (
	rounds       = 3
	defaultPause = time.Second
)

// Join makes a key, has it certified by whichever node of the control plane answers, and puts the certificate into
// use. The key of an enrolment before stays until the local store needs it no longer. Errors are for the one who runs
// the command.
func (f *Folder) Join(ctx context.Context, wish Wish) (Result, error) {
	if err := f.mayJoin(wish.Again); err != nil {
		return Result{}, err
	}
	if err := f.MakeRoom(); err != nil { // before the token is used up
		return Result{}, err
	}
	key, text, request, err := newKey(wish.Name)
	if err != nil {
		return Result{}, err
	}
	defer text.Wipe()
	node, answer, err := ask(ctx, wish, request)
	if err != nil {
		return Result{}, err
	}
	result := Result{Node: node, TLS: answer.TLS}
	err = f.locked(func() error {
		result.Identity, result.Replaced, err = f.settle(wish, key, text, answer)
		return err
	})
	if err != nil {
		return Result{}, fmt.Errorf("what the control plane issued is not used, and the token is used up (another one: keepgate-cp fleet invite): %w", err)
	}
	return result, nil
}

// mayJoin refuses to replace what is alive without a word.
func (f *Folder) mayJoin(again bool) error {
	if again || !f.Joined() {
		return nil
	}
	source, err := f.Open(nil)
	if errors.Is(err, fs.ErrPermission) {
		return err // another user's, and not to be replaced by this one
	}
	if err != nil {
		return fault.Newf(fault.Conflict, "enrol.Join", f.dir, "it holds an enrolment that cannot be read (%v); to replace it: --again", err)
	}
	if id := source.Identity(); time.Now().Before(id.NotAfter) {
		return fault.Newf(fault.Conflict, "enrol.Join", f.dir, "this node has joined already, as %s, until %s; to replace that: --again", id, stamp(id.NotAfter))
	}
	return nil
}

// settle makes what was issued this node's certificate.
func (f *Folder) settle(wish Wish, key crypto.Signer, text secret.Bytes, answer *enrolment.Answer) (id identity.Identity, replaced bool, err error) {
	before, err := f.current()
	if err != nil && !wish.Again {
		return id, false, err
	}
	if _, err := leafOf(answer.Issued, key); err != nil {
		return id, false, err
	}
	m := material{key: text, cert: encode("CERTIFICATE", answer.Issued.GetChain()), record: record{JoinedAt: time.Now().Unix()}}
	if len(answer.Issued.GetTrust().GetAuthorities()) == 0 {
		return id, false, errors.New("the control plane does not say whom to believe")
	}
	m.believe(answer.Issued.GetTrust())
	number, err := f.add(m, func(source *mtls.Source) error {
		id = source.Identity()
		if id.Organisation != answer.From.Organisation {
			return fmt.Errorf("the certificate is of organisation %q, the control plane of %q", id.Organisation, answer.From.Organisation)
		}
		if wish.Name != "" && id.Name != wish.Name {
			return fmt.Errorf("the certificate is for %q, and %q was asked for", id.Name, wish.Name)
		}
		return usable(source, answer.TLS, time.Now())
	})
	if err != nil {
		return id, false, err
	}
	if err := f.use(number, before); err != nil {
		return id, false, err
	}
	return id, before != 0, f.forgive()
}

// ask tries every node, in random order, until one issues a certificate or says what no other would take back.
func ask(ctx context.Context, wish Wish, request []byte) (string, *enrolment.Answer, error) {
	if wish.Pause <= 0 {
		wish.Pause = defaultPause
	}
	message := &enrolv1.JoinRequest{Request: request, Name: wish.Name, Hostname: wish.Hostname, Version: wish.Version}
	var failures []error
	for round := range rounds {
		if round > 0 && !lifecycle.Pause(ctx, wish.Pause/2+rand.N(wish.Pause)) {
			break
		}
		nodes, patience := slices.Clone(wish.Nodes), false
		rand.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		failures = nil
		for _, node := range nodes {
			dial := func(ctx context.Context) (net.Conn, error) { return wish.Dial(ctx, node) }
			answer, err := enrolment.Exchange(ctx, dial, wish.Token, message)
			if err == nil {
				return node, answer, nil
			}
			refused, ok := errors.AsType[*enrolment.Refused](err)
			if ok && !refused.Again {
				return node, nil, fmt.Errorf("%s: %w%s", node, err, Remedy(err))
			}
			patience = patience || ok || errors.Is(err, enrolment.ErrUnanswered)
			failures = append(failures, fmt.Errorf("%s: %w%s", node, err, Remedy(err)))
		}
		if !patience {
			break
		}
	}
	return "", nil, errors.Join(failures...)
}

// Remedy says what mends a failure of joining, "" where the failure says it itself.
func Remedy(err error) string {
	for kind, remedy := range map[error]string{
		enrolment.ErrOtherRoot:       "; compare the address with that of the control plane where the token was made. If it is right, somebody is in between; the token was not sent",
		enrolment.ErrClock:           "; compare the clocks of both machines",
		enrolment.ErrNoJoin:          "; name the cluster port of a control plane node (cluster_listen, 8005 by default)",
		enrolment.ErrNotControlPlane: "; the token was not sent",
	} {
		if errors.Is(err, kind) {
			return remedy
		}
	}
	if noHost, ok := errors.AsType[*net.DNSError](err); ok || errors.Is(err, syscall.ECONNREFUSED) {
		if ok && !noHost.IsNotFound {
			return ""
		}
		return "; name a node of the control plane by --control-plane, as cp.example:8005 (its cluster_listen)"
	}
	return ""
}
