package publish

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/verifier"
)

const (
	tableEnvironments = "environments"
	// tableFingerprintKeys is the kind of the entry that carries the environment's key; no such table exists.
	tableFingerprintKeys = "fingerprint_keys"
)

// wire makes the form in which entities of one environment travel.
type wire struct {
	catalog     Catalog
	schema      *schema.Schema
	fingerprint *verifier.Fingerprinter
	keyEntry    configset.Entry // the fingerprint key itself; no row stands for it
}

// begin finds the environment among the rows and opens its fingerprint key.
func (w *wire) begin(ctx context.Context, rows []record.Row) error {
	for _, row := range rows {
		if row.Table != tableEnvironments || row.Unique["name"] != DefaultEnvironment {
			continue
		}
		opened, err := w.catalog.Open(ctx, row)
		if err != nil {
			return fmt.Errorf("opening environment %q: %w", DefaultEnvironment, err)
		}
		environment, ok := opened.(*configv1.Environment)
		if !ok {
			return fmt.Errorf("environment %q opened as something else", DefaultEnvironment)
		}
		key, err := base64.StdEncoding.DecodeString(environment.GetFingerprintKey())
		if err != nil || len(key) != 32 {
			return fmt.Errorf("the fingerprint key of environment %q is not 32 bytes in base64", DefaultEnvironment)
		}
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(&configv1.FingerprintKey{Id: environment.GetId(), Key: key})
		if err != nil {
			return fmt.Errorf("encoding the fingerprint key: %w", err)
		}
		w.keyEntry = configset.Entry{Kind: tableFingerprintKeys, ID: environment.GetId(), Body: body}
		w.fingerprint = verifier.NewFingerprinter(secret.Take(key))
		return nil
	}
	return fmt.Errorf("there is no environment %q", DefaultEnvironment)
}

// concerns reports whether a changed row changes the form of all others.
func (w *wire) concerns(ref record.Ref) bool { return ref.Table == tableEnvironments }

// entry returns the form in which a row travels; false for rows that never do.
func (w *wire) entry(ctx context.Context, row record.Row) (configset.Entry, bool, error) {
	if !w.travels(row.Table) {
		return configset.Entry{}, false, nil
	}
	entity, err := w.catalog.Open(ctx, row)
	if err != nil {
		return configset.Entry{}, false, err
	}
	if credential, ok := entity.(*configv1.KeyauthCredential); ok {
		if credential.GetKey() == "" {
			return configset.Entry{}, false, errors.New("the credential has no key")
		}
		sum := w.fingerprint.Sum(row.Table, "key", credential.GetKey())
		credential.Fingerprints = []string{hex.EncodeToString(sum[:])}
		credential.Key = nil
	}
	body, err := w.schema.Wire(w.schema.EntityOf(entity), entity)
	if err != nil {
		return configset.Entry{}, false, fmt.Errorf("encoding: %w", err)
	}
	return configset.Entry{Kind: row.Table, ID: row.ID, Body: body}, true, nil
}
