package kek_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/kek"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/wraptest"
	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
	"github.com/keepgate/keepgate/shared/fault"
)

// plane is a control plane without a network, so that a test can run through hours.
type plane struct {
	kek *wraptest.KEK

	mu       sync.Mutex
	away     bool                                  // guarded by mu; nothing is answered
	refuses  error                                 // guarded by mu; what wraps and unwraps end with
	distorts func(*wrapv1.UnwrapResponse)          // guarded by mu
	wraps    func(*wrapv1.WrapResponse)            // guarded by mu
	says     func(answer *wrapv1.DescribeResponse) // guarded by mu
	asked    []time.Time                           // guarded by mu; Describes
	slow     time.Duration                         // guarded by mu
}

func (p *plane) set(change func(*plane)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *plane) snapshot() (away bool, slow time.Duration, refuses error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.away, p.slow, p.refuses
}

// questions counts the Describes since asked was emptied.
func (p *plane) questions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked)
}

// said is a log that is read while it is written.
type said struct {
	mu sync.Mutex
	bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Buffer.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Buffer.String()
}

func gone(op string) error {
	return fault.Newf(fault.Unavailable, op, "", "no node of the control plane serves")
}

func typed(err error) error {
	switch status.Code(err) {
	case codes.OK:
		return nil
	case codes.NotFound:
		return fault.New(fault.NotFound, "test", "", err)
	}
	return fault.New(fault.Invalid, "test", "", err)
}

func (p *plane) Describe(context.Context) (*wrapv1.DescribeResponse, error) {
	away, slow, _ := p.snapshot()
	p.set(func(p *plane) { p.asked = append(p.asked, time.Now()) })
	answer := p.kek.Describe()
	time.Sleep(slow)
	if away {
		return nil, gone("Describe")
	}
	p.set(func(p *plane) {
		if p.says != nil {
			p.says(answer)
		}
	})
	return answer, nil
}

func (p *plane) Wrap(_ context.Context, request *wrapv1.WrapRequest) (*wrapv1.WrapResponse, error) {
	away, _, refuses := p.snapshot()
	if away {
		return nil, gone("Wrap")
	}
	answer, err := p.kek.Wrap(request)
	if refuses != nil {
		return nil, refuses
	}
	p.set(func(p *plane) {
		if p.wraps != nil && err == nil {
			p.wraps(answer)
		}
	})
	return answer, typed(err)
}

func (p *plane) Unwrap(_ context.Context, request *wrapv1.UnwrapRequest) (*wrapv1.UnwrapResponse, error) {
	away, _, refuses := p.snapshot()
	if away {
		return nil, gone("Unwrap")
	}
	if refuses != nil {
		return nil, refuses
	}
	answer, err := p.kek.Unwrap(request)
	p.set(func(p *plane) {
		if p.distorts != nil && err == nil {
			p.distorts(answer)
		}
	})
	return answer, typed(err)
}

// bench runs a follower of the KEK "prod" in a bubble of its own time.
type bench struct {
	*testing.T
	plane    *plane
	follower *kek.Follower
	log      *said
	stop     func()
}

func inBubble(t *testing.T, options kek.Options, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, plane: &plane{kek: wraptest.NewKEK(t, "prod")}, log: &said{}}
		options.Log = slog.New(slog.NewTextHandler(b.log, nil))
		b.follower = kek.New(b.plane, "prod", options)
		b.begin()
		defer func() { b.stop() }()
		test(b)
	})
}

func (b *bench) begin() {
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.follower.Run(ctx) }()
	b.stop = func() { cancel(); <-ended }
	synctest.Wait()
}

func (b *bench) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// verdict is how it stands, as a word.
func (b *bench) verdict() string {
	switch v := b.follower.Verdict(); {
	case v.IsLost:
		return "lost"
	case v.Trouble != "":
		return "trouble"
	default:
		return "ok"
	}
}

func (b *bench) wants(what, verdict string) {
	b.Helper()
	if got := b.verdict(); got != verdict {
		b.Errorf("%s: %s, want %s (%q)", what, got, verdict, b.follower.Verdict().Trouble)
	}
}
