package kmsv1

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
)

// Version 1 names no key: a plugin that took another one's place wraps and unwraps what it made itself, and nothing
// tells it from the one before but what that one wrapped. So a provider writes nothing until the plugin has opened
// values that rest under its name, one of each table.
//
// The proof is of who is at the other end of one connection. A plugin cannot be exchanged without another one, so a proof
// counts for as long as there is none; then it has to be made again, and whoever writes first does that. What another
// process than the plugin answers from, as an HSM whose key is another one, is beyond that.

// linksOfACall bounds how many connections one call follows: a plugin that ends each of them proves nothing.
const linksOfACall = 3

// Sample is a stored value, and where it rests.
type Sample struct {
	Place aead.Place
	Text  string
}

// Samples gives a few values of each table that has some under the provider's name. There is more than one of a table,
// so that one that was spoiled tells nothing.
type Samples func(ctx context.Context) (tables [][]Sample, err error)

// ErrForeign says that the plugin is well, and is not the one that wrapped what rests under the provider's name.
var ErrForeign = errors.New("another plugin")

type foreign struct{ error }

func (foreign) Is(target error) bool { return target == ErrForeign }

var (
	errUnproven = errors.New("nothing is written by it until its plugin has opened what rests under its name")
	errAnew     = errors.New("its socket was connected anew, maybe to another plugin: nothing is written by it until the plugin has opened what rests under its name")
)

// proof is whether the plugin is the one that wrapped what rests.
type proof struct {
	endpoint string // for people
	samples  Samples
	turn     sync.Mutex // one at a time; held over the plugin and the database
	verdict  atomic.Pointer[verdict]

	mu    sync.Mutex
	under chan struct{} // closed when whoever writes has proven it, or has not; nil: nobody tries. guarded by mu
}

// verdict is what is known.
type verdict struct {
	reason error  // why nothing may be written; nil: it was proven
	link   uint64 // to what, if it was
}

func (p *proof) begin(o Options) {
	p.endpoint, p.samples = o.Endpoint, o.Samples
	p.verdict.Store(&verdict{reason: errUnproven})
}

// holds says whether it is proven who is at the other end of a link, and that it is the one in use.
func (p *proof) holds(link uint64, plugin Plugin) bool {
	if p.samples == nil {
		return true
	}
	v := p.verdict.Load()
	return v.reason == nil && v.link == link && plugin.Link() == link
}

// now is why nothing is written, or the link to a plugin that is proven.
func (p *proof) now(plugin Plugin) (link uint64, err error) {
	if p.samples == nil {
		return 0, nil
	}
	v := p.verdict.Load()
	switch {
	case v.reason != nil:
		return 0, v.reason
	case v.link != plugin.Link():
		return 0, errAnew
	}
	return v.link, nil
}

// await is now, but where there is a new link somebody proves who is at its end first, and all who come meanwhile wait for that. Nobody
// waits for longer than a moment.
func (p *Provider) await() (link uint64, err error) {
	link, err = p.proof.now(p.plugin)
	if err != errAnew {
		return link, err
	}
	p.proof.mu.Lock()
	under, mine := p.proof.under, p.proof.under == nil
	if mine {
		under = make(chan struct{})
		p.proof.under = under
	}
	p.proof.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), p.outage.pause)
	defer cancel()
	if !mine {
		select {
		case <-under:
		case <-ctx.Done():
		}
		return p.proof.now(p.plugin)
	}
	err = p.Prove(ctx)
	p.proof.mu.Lock()
	p.proof.under = nil
	p.proof.mu.Unlock()
	close(under)
	if err != nil {
		return 0, err
	}
	return p.proof.now(p.plugin)
}

// Proven says why nothing is written by the provider as far as it is for want of proof, an ErrForeign when there is one
// of the contrary.
func (p *Provider) Proven() error {
	_, err := p.proof.now(p.plugin)
	return err
}

// Await is Proven, but proves a plugin whose socket was connected anew.
func (p *Provider) Await() error {
	_, err := p.await()
	return err
}

// Prove has the plugin open what rests under the provider's name. It fails with an ErrForeign, and nothing is written any
// more, when it is well and opens none of the samples of a table. Any other error proves nothing, and changes nothing.
func (p *Provider) Prove(ctx context.Context) error {
	if p.proof.samples == nil {
		return nil
	}
	p.proof.turn.Lock() // others hold it for as long as their calls take
	defer p.proof.turn.Unlock()
	for range linksOfACall {
		link := p.plugin.Link()
		if err := p.prove(ctx); err != nil {
			return err
		}
		if p.plugin.Link() == link {
			p.proof.verdict.Store(&verdict{link: link})
			return nil
		}
	}
	return p.absent("kmsv1.Prove", errAnew)
}

// prove asks nobody where nothing rests: whoever answers may write then.
func (p *Provider) prove(ctx context.Context) error {
	tables, err := p.proof.samples(ctx)
	if err != nil {
		return fmt.Errorf("looking for values of KMS provider %s: %w", p.name, err)
	}
	for _, samples := range tables {
		if err := p.opensOne(ctx, samples); err != nil {
			return p.disproved(ctx, samples[0].Place, err)
		}
	}
	return nil
}

// disproved is what it means that a table's values do not open: nothing, when the plugin is not well.
func (p *Provider) disproved(ctx context.Context, place aead.Place, err error) error {
	if errors.Is(err, kmsclient.ErrNoAnswer) {
		return p.absent("kmsv1.Prove", err)
	}
	if err := p.Check(ctx); err != nil {
		return p.absent("kmsv1.Prove", err)
	}
	where := place.Table
	if strings.HasPrefix(where, "@") { // no table
		where = place.Row
	}
	reason := fault.New(fault.Denied, "kmsv1.Prove", "kms/"+p.name, foreign{fmt.Errorf(
		"the plugin at %s does not open what rests in %s under the name of this provider (%s): it is not the plugin that wrote it, or has lost its key, and nothing is written by it. "+
			"Lead the endpoint to the plugin that wrote it; where another one is to write, give that a provider with a name of its own before this one, and run keepgate-cp keyring reencrypt",
		p.proof.endpoint, where, fault.Text(err))})
	p.proof.verdict.Store(&verdict{reason: reason})
	return reason
}

// opensOne fails when no sample opens, as the last of them did or as the plugin did not answer.
func (p *Provider) opensOne(ctx context.Context, samples []Sample) (err error) {
	for _, sample := range samples {
		if err = p.opens(ctx, sample); err == nil || errors.Is(err, kmsclient.ErrNoAnswer) {
			return err
		}
	}
	return err
}

// opens asks the plugin itself, whatever is in the cache.
func (p *Provider) opens(ctx context.Context, sample Sample) error {
	wrapped, sealed, err := parse(p.prefix, sample.Text)
	if err != nil {
		return err
	}
	key, err := p.unwrap(ctx, wrapped)
	if err != nil {
		return err
	}
	defer key.Wipe()
	box, err := aead.NewBox(aead.BoxGCM, key)
	if err != nil {
		return err
	}
	_, err = box.Open(nil, sealed, p.associated(sample.Place))
	return err
}
