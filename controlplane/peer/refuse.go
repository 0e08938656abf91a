package peer

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// Reasons for which a message is refused, beside those of [verdict.Reason] for its proof.
const (
	Malformed      = "malformed"
	TooLarge       = "too large"
	WrongCluster   = "wrong cluster"
	WrongTopic     = "wrong topic"
	WrongRecipient = "for another node"
	Replayed       = "replayed" // or duplicated, or overtaken by a later one
	OldIncarnation = "of an ended process"
	Stale          = "stale"
	Future         = "from the future"
	NodeTaken      = "node id of another identity"
	SameNode       = "node id of this node"
	Crowded        = "too many senders"
	Unasked        = "unasked reply"
	Unopened       = "does not open"
	TooMany        = "too many requests"
	Strangers      = "too many strangers"
)

// refusal is an error with a reason that is counted.
type refusal struct {
	reason string
	detail string
}

func (r *refusal) Error() string { return r.reason + ": " + r.detail }

func refuse(reason, format string, args ...any) error {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}

// unproven takes over the reason for which mtls does not believe a proof.
func unproven(err error) error {
	if r, ok := errors.AsType[*verdict.Refusal](err); ok {
		return &refusal{string(r.Reason), r.Error()}
	}
	return &refusal{string(verdict.BadProof), err.Error()}
}

// refusals counts by reason, and logs each reason once in a while: a flood must not fill the log.
type refusals struct {
	log *slog.Logger

	mu       sync.Mutex
	byReason map[string]uint64    // guarded by mu
	logged   map[string]time.Time // guarded by mu
}

const logAgain = 10 * time.Minute

var errOwn = errors.New("own echo") // ignored, not counted

func (r *refusals) count(err error) {
	refused, ok := errors.AsType[*refusal](err)
	if !ok {
		return
	}
	r.mu.Lock()
	if r.byReason == nil {
		r.byReason, r.logged = make(map[string]uint64), make(map[string]time.Time)
	}
	r.byReason[refused.reason]++
	total := r.byReason[refused.reason]
	last, logged := r.logged[refused.reason]
	due := !logged || time.Since(last) >= logAgain
	if due {
		r.logged[refused.reason] = time.Now()
	}
	r.mu.Unlock()
	if due {
		r.log.Warn("message of a control plane node refused", "reason", refused.reason, "detail", refused.detail, "refused", total)
	}
}

func (r *refusals) counts() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.byReason)
}
