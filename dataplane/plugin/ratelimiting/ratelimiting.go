// Package ratelimiting is the plugin rate-limiting: it counts requests in fixed windows of the UTC calendar and refuses
// those above a limit.
//
// Counters are this node's (policy local) and live in the [Kind], keyed by the plugin's entity, so that a changed configuration goes
// on counting where the last one was (counters.go). Check and count are one step under a lock: never more than the limit are let
// through in one window, except as counters.go says for more identities than there is room for.
package ratelimiting

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

const (
	name              = "rate-limiting"
	defaultIdentities = 1 << 19 // 32 MiB when all are in use
	sweepEvery        = time.Minute
)

// Options tunes a Kind. The zero value is right for production.
type Options struct {
	Identities int          // clients that are counted at a time, about; default 524,288, at 64 bytes each
	Log        *slog.Logger // hears that there were more; default: discard
}

// Kind is the plugin.
type Kind struct{ shared *shared }

// shared is what the instances of all configurations have in common.
type shared struct {
	counters *counters
	seed     maphash.Seed
	verdicts sync.Pool // of *verdict
	log      *slog.Logger
}

// New makes the plugin and its counters.
func New(o Options) Kind {
	if o.Identities <= 0 {
		o.Identities = defaultIdentities
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return Kind{&shared{
		counters: newCounters(o.Identities), seed: maphash.MakeSeed(), log: o.Log,
		verdicts: sync.Pool{New: func() any { return new(verdict) }},
	}}
}

// Name implements plugin.Kind.
func (Kind) Name() string { return name }

// Priority implements plugin.Kind.
func (Kind) Priority() int { return 910 }

// Run implements plugin.Runner: it gives back memory that is no longer used, and tells when there was too little.
func (k Kind) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		identities := k.shared.counters.sweep()
		if evicted := k.shared.counters.evicted.Swap(0); evicted > 0 {
			k.shared.log.Warn("rate-limiting: more clients than there are counters, those not seen for longest start anew",
				"clients", identities, "forgotten", evicted)
		}
	}
}

// New implements plugin.Kind.
func (k Kind) New(config []byte, env plugin.Env) (any, error) {
	var c pluginv1.RateLimiting
	if err := proto.Unmarshal(config, &c); err != nil {
		return nil, errors.New("configuration cannot be decoded")
	}
	if p := c.GetPolicy(); p != "" && p != "local" {
		return nil, errors.New("policy is not local")
	}
	by := c.GetLimitBy()
	if by == "" {
		by = "consumer"
	}
	i := instance{
		shared: k.shared, slot: env.Slot, who: kinds[by], header: c.GetHeaderName(),
		salt: k.shared.salt(env.ID, by), addressSalt: k.shared.salt(env.ID, "ip"),
	}
	if err := errors.Join(i.setLimits(&c), i.setIdentity(by, &c), i.setRefusal(&c)); err != nil {
		return nil, err
	}
	if c.GetHideClientHeaders() {
		return &i, nil
	}
	return &telling{i}, nil
}

// instance is one configuration that tells clients nothing.
type instance struct {
	shared *shared
	slot   int

	limits  limits
	texts   [periodCount]string // of limits
	longest period

	who               who
	header, path      string
	salt, addressSalt uint64

	refusal *plugin.Refusal
}

func (i *instance) setLimits(c *pluginv1.RateLimiting) error {
	shortest := true
	for p, limit := range [periodCount]*float64{c.Second, c.Minute, c.Hour, c.Day, c.Month, c.Year} {
		if limit == nil {
			continue
		}
		if !(*limit > 0) {
			return fmt.Errorf("the limit for a %s is not above 0", periodNames[p])
		}
		i.limits[p] = math.MaxInt64
		if whole := math.Ceil(*limit); whole < math.MaxInt64 {
			i.limits[p] = uint64(whole)
		}
		i.texts[p] = strconv.FormatUint(i.limits[p], 10)
		if !shortest && i.limits[p] < i.limits[i.longest] {
			return fmt.Errorf("the limit for a %s is lower than the one for a %s", periodNames[p], periodNames[i.longest])
		}
		i.longest, shortest = period(p), false
	}
	if shortest {
		return errors.New("there is no limit")
	}
	return nil
}

func (i *instance) setIdentity(by string, c *pluginv1.RateLimiting) error {
	switch {
	case i.who == nil:
		return errors.New("limit_by is not known")
	case by == "header" && !exchange.ValidName(i.header):
		return errors.New("limit_by header needs header_name, the name of a header")
	case by == "path":
		path, err := exchange.Normalise(nil, c.GetPath())
		if err != nil {
			return errors.New("limit_by path needs a path")
		}
		i.path = string(path)
	}
	return nil
}

func (i *instance) setRefusal(c *pluginv1.RateLimiting) error {
	i.refusal = &plugin.Refusal{Status: 429, Message: "API rate limit exceeded"}
	if c.ErrorCode != nil {
		i.refusal.Status = int(c.GetErrorCode())
		if !(c.GetErrorCode() >= 200 && c.GetErrorCode() < 600) || float64(i.refusal.Status) != c.GetErrorCode() {
			return errors.New("error_code is not a status from 200 to 599")
		}
	}
	if c.ErrorMessage != nil {
		i.refusal.Message = c.GetErrorMessage()
	}
	return nil
}

// Access implements plugin.Accesser.
func (i *instance) Access(ex *exchange.Exchange, _ *plugin.Runtime) {
	v := i.shared.verdicts.Get().(*verdict)
	i.judge(ex, v)
	i.shared.verdicts.Put(v)
}

// judge counts the request or refuses it.
func (i *instance) judge(ex *exchange.Exchange, v *verdict) {
	i.shared.counters.take(i.key(ex), &i.limits, i.longest, v)
	if v.stopped {
		plugin.Refuse(ex, i.refusal)
	}
}

// telling is one configuration that tells clients how much is left.
type telling struct{ instance }

// Access implements plugin.Accesser.
func (i *telling) Access(ex *exchange.Exchange, _ *plugin.Runtime) {
	v := i.shared.verdicts.Get().(*verdict)
	i.judge(ex, v)
	ex.SetSlot(i.slot, v)
}

// Response implements plugin.Responder.
func (i *telling) Response(ex *exchange.Exchange, _ *plugin.Runtime) {
	v, ok := ex.Slot(i.slot).(*verdict)
	if !ok {
		return // answered before our turn
	}
	i.tell(ex, v)
	ex.SetSlot(i.slot, nil)
	i.shared.verdicts.Put(v)
}

// number writes a number into the arena.
func number(ex *exchange.Exchange, n uint64) string {
	return exchange.View(strconv.AppendUint(ex.Bytes(20)[:0], n, 10))
}
