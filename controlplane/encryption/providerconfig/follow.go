package providerconfig

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

const (
	firstRetry = time.Second
	pollEvery  = time.Minute
)

// FollowOptions tunes a [Follower]. The zero value looks at the file when it is told to.
type FollowOptions struct {
	Automatic bool          // look every minute too, and try again what failed
	Every     time.Duration // between looks, with jitter; default 1 min
	Log       *slog.Logger  // default: discard
	// Tried hears of each change of the file that was taken, or was not.
	Tried func(taken bool)
}

// Follower takes a file anew when its bytes have changed: also a changed comment is a change. A file that is not taken
// leaves the one before in force, whole.
type Follower struct {
	path    string
	take    func(ctx context.Context, text Text) error
	options FollowOptions
	asked   chan struct{}

	mu    sync.Mutex
	state Followed // guarded by mu
}

// Followed is how the file stands.
type Followed struct {
	Hash      string    // of the file in force
	Taken     time.Time // when it was taken
	Automatic bool
	Problem   string    // why the file as it lies there now is not in force; "" when it is
	Tried     time.Time // when that was last tried
}

// NewFollower starts nothing. taken is the hash of the file in force; take puts another one in force, or fails and changes
// nothing. It does not keep the text.
func NewFollower(path, taken string, take func(ctx context.Context, text Text) error, options FollowOptions) *Follower {
	if options.Every <= 0 {
		options.Every = pollEvery
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Tried == nil {
		options.Tried = func(bool) {}
	}
	return &Follower{
		path: path, take: take, options: options, asked: make(chan struct{}, 1),
		state: Followed{Hash: taken, Taken: time.Now(), Automatic: options.Automatic},
	}
}

// Ask has the file looked at now. It does not wait for that.
func (f *Follower) Ask() {
	select {
	case f.asked <- struct{}{}:
	default:
	}
}

// State says how the file stands.
func (f *Follower) State() Followed {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

// Run follows the file until ctx ends.
func (f *Follower) Run(ctx context.Context) error {
	retry := time.Duration(0)
	for {
		wait := f.options.Every
		if retry > 0 {
			wait = min(retry, wait)
		}
		timer := time.NewTimer(wait - wait/10 + rand.N(wait/5))
		tick := timer.C
		if !f.options.Automatic {
			tick = nil
		}
		asked := false
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-f.asked:
			asked = true
		case <-tick:
		}
		timer.Stop()
		switch err := f.look(ctx, asked); {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			retry = 0
		default:
			retry = max(firstRetry, min(2*retry, f.options.Every))
		}
	}
}

// look takes the file if it has changed. Who asked for it hears again why it is not taken.
func (f *Follower) look(ctx context.Context, asked bool) error {
	text, err := Read(f.path)
	if err == nil {
		defer text.Wipe()
		if text.Hash() == f.State().Hash {
			f.settle(text.Hash(), nil, asked)
			return nil
		}
		err = f.take(ctx, text)
	}
	if err != nil && ctx.Err() != nil {
		return err // the node stops
	}
	f.options.Tried(err == nil)
	f.settle(text.Hash(), err, asked)
	return err
}

// settle notes how the file stands, and tells what is news, or was asked for.
func (f *Follower) settle(hash string, err error, asked bool) {
	f.mu.Lock()
	before := f.state
	f.state.Tried, f.state.Problem = time.Now(), fault.Text(err)
	if err == nil && hash != before.Hash {
		f.state.Hash, f.state.Taken = hash, time.Now()
	}
	now := f.state
	f.mu.Unlock()
	switch {
	case err != nil && (asked || now.Problem != before.Problem):
		f.options.Log.Error("encryption_provider_config was not taken as it lies there; going on with the one before", "hash", before.Hash, "error", now.Problem)
	case now.Hash != before.Hash:
		f.options.Log.Info("encryption_provider_config was taken anew", "hash", now.Hash, "before", before.Hash)
	case err == nil && before.Problem != "":
		f.options.Log.Info("encryption_provider_config is again as it is in force", "hash", now.Hash)
	}
}
