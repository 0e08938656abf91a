package reencrypt

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/fault"
)

// MaxRate bounds a rate; no database is as fast.
const MaxRate = 1_000_000

// Request says what to do. The zero value is everything, as this node writes secrets.
type Request struct {
	Workspace string // id; "" is all
	Table     string // "" is all
	To        string // [ToActive] or [ToPlaintext]; "" is what this node writes
	Rate      int    // rows a second; 0 is no limit
}

// Start begins a job. It fails with fault.Conflict while one runs or is paused, with fault.Invalid when this
// node does not write what is asked for, and with fault.Unavailable when it cannot write at all.
func (j *Job) Start(ctx context.Context, request Request) (Progress, error) {
	if err := j.check(&request); err != nil {
		return Progress{}, err
	}
	if j.options.Agreed != nil {
		if err := j.options.Agreed(ctx, request.To); err != nil {
			return Progress{}, err
		}
	}
	if s, _, err := j.load(ctx); err != nil {
		return Progress{}, err
	} else if err := free(s); err != nil { // before it is journaled
		return Progress{}, err
	}
	fresh := &stored{
		Version: version, ID: strings.ToLower(rand.Text()[:12]), State: Running, Started: now(),
		To: request.To, Table: request.Table, Workspace: request.Workspace, Rate: request.Rate,
	}
	if err := j.record(ctx, "start", fresh.ID, fresh.describe()...); err != nil {
		return Progress{}, err
	}
	return j.edit(ctx, func(s *stored) (*stored, error) {
		return fresh, free(s)
	})
}

func free(s *stored) error {
	if s == nil || s.State.ended() {
		return nil
	}
	return fault.Newf(fault.Conflict, "reencrypt.Start", subject, "a re-encryption is %s already (%s): see its progress, or cancel it", s.State, s.ID)
}

func (j *Job) check(request *Request) error {
	refuse := func(format string, args ...any) error {
		return fault.Newf(fault.Invalid, "reencrypt.Start", subject, format, args...)
	}
	if !j.cipher.Enabled() {
		return refuse("the keyring is off and no other provider is named: there is nothing to re-encrypt")
	}
	if request.To == "" {
		request.To = ToActive
		if j.cipher.Decrypting() {
			request.To = ToPlaintext
		}
	}
	known := func(t catalog.SecretTable) bool { return t.Name == request.Table }
	switch {
	case request.To != ToActive && request.To != ToPlaintext:
		return refuse("to: expected one of: %s, %s", ToActive, ToPlaintext)
	case request.To == ToPlaintext && !j.cipher.Decrypting():
		return refuse("to: plaintext needs keyring_decrypt_all = on, or identity first for every table in encryption_provider_config, on every control plane node")
	case request.To == ToActive && j.cipher.Decrypting():
		return refuse("to: active needs keyring_decrypt_all = off, or another provider than identity first in encryption_provider_config; this node writes secrets in clear")
	case request.Rate < 0 || request.Rate > MaxRate:
		return refuse("rate: expected rows a second, at most %d, or 0 for no limit", MaxRate)
	case request.Table != "" && !slices.ContainsFunc(j.catalog.SecretTables(), known):
		return refuse("table: no table of that name holds secrets; there are: %s", strings.Join(j.names(), ", "))
	}
	for _, t := range j.catalog.SecretTables() {
		if request.Table != "" && request.Table != t.Name {
			continue
		}
		if _, err := j.cipher.Mark(t.Name); err != nil {
			return err
		}
	}
	return nil
}

func (j *Job) names() (names []string) {
	for _, t := range j.catalog.SecretTables() {
		names = append(names, t.Name)
	}
	return names
}

// Pause holds the job at its place; the node that works stops within a save.
func (j *Job) Pause(ctx context.Context) (Progress, error) {
	return j.turn(ctx, "pause", "paused", into(Paused), nil, Running)
}

// Resume goes on with a paused job, on any node.
func (j *Job) Resume(ctx context.Context) (Progress, error) {
	return j.turn(ctx, "resume", "resumed", into(Running), nil, Paused)
}

// Cancel ends the job. What was written stays written.
func (j *Job) Cancel(ctx context.Context) (Progress, error) {
	return j.turn(ctx, "cancel", "cancelled", into(Cancelled), nil, Running, Paused)
}

// SetRate paces the job: rows a second, 0 for no limit.
func (j *Job) SetRate(ctx context.Context, rate int) (Progress, error) {
	if rate < 0 || rate > MaxRate {
		return Progress{}, fault.Newf(fault.Invalid, "reencrypt.SetRate", subject, "rate: expected rows a second, at most %d, or 0 for no limit", MaxRate)
	}
	return j.turn(ctx, "pace", "paced", func(s *stored) { s.Rate = rate }, []string{"rate", strconv.Itoa(rate)}, Running, Paused)
}

// into is the change to a state.
func into(to State) func(*stored) {
	return func(s *stored) {
		s.State, s.Waiting, s.Speed = to, "", 0
		if to.ended() {
			s.Ended = now()
		}
	}
}

// turn changes a job that is in one of some states, and notes it first.
func (j *Job) turn(ctx context.Context, action, done string, change func(*stored), detail []string, from ...State) (Progress, error) {
	s, _, err := j.load(ctx)
	if err == nil {
		err = in(s, done, from...)
	}
	if err == nil {
		err = j.record(ctx, action, s.ID, detail...)
	}
	if err != nil {
		return Progress{}, err
	}
	return j.edit(ctx, func(s *stored) (*stored, error) {
		if err := in(s, done, from...); err != nil {
			return nil, err
		}
		change(s)
		return s, nil
	})
}

// in refuses what the job's state does not allow.
func in(s *stored, done string, states ...State) error {
	switch {
	case s == nil:
		return fault.Newf(fault.NotFound, "reencrypt", subject, "there is no re-encryption")
	case !slices.Contains(states, s.State):
		return fault.Newf(fault.Conflict, "reencrypt", subject, "the re-encryption is %s and cannot be %s", s.State, done)
	}
	return nil
}

func (j *Job) edit(ctx context.Context, edit func(s *stored) (*stored, error)) (Progress, error) {
	s, err := j.change(ctx, edit)
	if err != nil {
		return Progress{}, err
	}
	j.hint()
	return s.progress(), nil
}

func (j *Job) record(ctx context.Context, action, id string, detail ...string) error {
	if j.options.Journal == nil {
		return nil
	}
	if err := j.options.Journal.Record(ctx, "reencrypt."+action, "reencryption/"+id, detail...); err != nil {
		return fmt.Errorf("noting it in the journal: %w", err)
	}
	return nil
}

// describe is the request as the journal keeps it.
func (s *stored) describe() []string {
	detail := []string{"to", s.To}
	if s.Table != "" {
		detail = append(detail, "table", s.Table)
	}
	if s.Workspace != "" {
		detail = append(detail, "workspace", s.Workspace)
	}
	if s.Rate != 0 {
		detail = append(detail, "rate", strconv.Itoa(s.Rate))
	}
	return detail
}

func now() int64 { return time.Now().UnixMilli() }
