package app

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/encryption/kmsv1"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

const (
	samplesOfTable = 3
	samplesPage    = 1000
	proveAgain     = time.Second      // while the plugin is away: its probe remembers that for longer
	foreignAgain   = 10 * time.Second // rows are counted for it
)

// proven refuses plugins of v1 that answer and do not open what rests under their names. Of one that does not answer
// nothing is known: it writes nothing before it has.
func (v *providers) proven(ctx context.Context, opened map[string]*plugin) error {
	ctx, cancel := context.WithTimeout(ctx, healthyWithin)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex
	var refused []error // guarded by mu
	for _, p := range opened {
		if p.v1 == nil {
			continue
		}
		all.Go(func() {
			if err := p.v1.Prove(ctx); errors.Is(err, kmsv1.ErrForeign) {
				mu.Lock()
				defer mu.Unlock()
				refused = append(refused, fault.Newf(fault.Denied, "app.Run", settingProviders, "KMS provider %s: %s", p.name, fault.Text(err)))
			}
		})
	}
	all.Wait()
	return errors.Join(refused...)
}

// proving proves a plugin as soon as it answers, at once when its socket was connected anew, and looks again while it is another one.
func (v *providers) proving(ctx context.Context, p *plugin) error {
	told, anew := false, false
	for {
		pause := proveAgain
		if p.v1.Proven() != nil && (anew || p.asked(ctx) == nil) { // who was connected to is there, whatever a probe remembers
			switch err := p.v1.Prove(ctx); {
			case errors.Is(err, kmsv1.ErrForeign):
				pause = foreignAgain
				if v.openNow(p.key()) == p && !told { // who tries a file tells why it is refused
					v.plane.log.Error("a KMS provider writes nothing", "provider", p.name, "error", err)
					told = true
				}
			case err == nil && told:
				v.plane.log.Info("a KMS provider writes again", "provider", p.name)
				told = false
			case err != nil:
				v.plane.log.Debug("a KMS provider is not proven yet", "provider", p.name, "error", err)
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-p.anew:
			anew = true
		case <-timer.C:
			anew = false
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
	}
}

// healthV1 is the answer to those who ask how a plugin of v1 is.
func (p *plugin) healthV1(ctx context.Context) error {
	if err := p.v1.Proven(); errors.Is(err, kmsv1.ErrForeign) {
		return err
	}
	if err := p.asked(ctx); err != nil {
		return err
	}
	if err := p.v1.Await(); err != nil {
		if errors.Is(err, kmsv1.ErrForeign) {
			return err
		}
		return fault.New(fault.Unavailable, "app.Probe", "kms/"+p.name, err)
	}
	return nil
}

// samples finds values under the name of a provider of v1: the first of each table that has any, since version 1 has no
// key_id that would make the newest tell more. Where there is none, the copy of the index key may be the only one that is left.
func (v *providers) samples(name string) kmsv1.Samples {
	mark := record.KMS1Prefix + name
	return func(ctx context.Context) (tables [][]kmsv1.Sample, err error) {
		counts, err := v.plane.store.CountSealed(ctx)
		if err != nil {
			return nil, err
		}
		for _, count := range counts {
			e, known := v.schema.Entity(count.Table)
			if !known || count.Key != mark || count.Rows == 0 {
				continue
			}
			samples, err := v.samplesIn(ctx, e, mark)
			if err != nil {
				return nil, err
			}
			if len(samples) > 0 { // else they went meanwhile
				tables = append(tables, samples)
			}
		}
		if len(tables) > 0 {
			return tables, nil
		}
		place, text, err := encryption.IndexCopy(ctx, v.plane.store, mark)
		if text != "" {
			tables = [][]kmsv1.Sample{{{Place: place, Text: text}}}
		}
		return tables, err
	}
}

func (v *providers) samplesIn(ctx context.Context, e *schema.Entity, mark string) (samples []kmsv1.Sample, err error) {
	query := record.Query{Table: e.Table, AnyWorkspace: true, Limit: samplesPage, Secrets: true}
	for {
		rows, err := v.plane.store.List(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if found := v.samplesOf(e, row, mark); len(found) > 0 { // one of a row, which may be spoiled
				samples = append(samples, found[0])
			}
			if len(samples) == samplesOfTable {
				return samples, nil
			}
		}
		if len(rows) < samplesPage {
			return samples, nil
		}
		query.After = rows[len(rows)-1].ID
	}
}

// samplesOf are the values of a row that are under a mark. A row that cannot be read has none.
func (v *providers) samplesOf(e *schema.Entity, row record.Row, mark string) (samples []kmsv1.Sample) {
	place := aead.Place{Workspace: row.Workspace, Table: e.Table, Row: row.ID}
	take := func(field, text string) (string, error) {
		if record.MarkOf(text) == mark {
			place.Field = field
			samples = append(samples, kmsv1.Sample{Place: place, Text: text})
		}
		return text, nil
	}
	for _, f := range e.Sealed {
		_, _ = take(f.Path, row.Sealed[f.Name]) // it fails never
	}
	if !e.SecretsInBody() || !bytes.Contains(row.Body, []byte(mark)) {
		return samples
	}
	if m, err := v.schema.DecodeStored(e, row.Body); err == nil {
		_ = v.schema.Secrets(e, m, take) // what it gave until it failed is enough
	}
	return samples
}
