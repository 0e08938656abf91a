package wire

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

// opened is a catalog whose rows open to what stands here, by id.
type opened map[string]proto.Message

func (o opened) Open(_ context.Context, row record.Row) (proto.Message, error) {
	return proto.Clone(o[row.ID]), nil
}

// An API key never leaves: what does is a fingerprint under the environment's key, and nothing where there is no such key.
func TestAPIKeysLeaveAsFingerprints(t *testing.T) {
	t.Parallel()
	const key = "canary of an API key"
	entities := schema.New(plugins.All())
	row := record.Row{Table: tableKeyauth, Workspace: "w", ID: "k"}
	for name, test := range map[string]struct {
		printer string
		kept    bool
		says    string // New fails
	}{
		"with a key":          {base64.StdEncoding.EncodeToString(make([]byte, 32)), false, ""},
		"without one":         {"", true, ""},
		"with a short one":    {base64.StdEncoding.EncodeToString(make([]byte, 16)), false, "not 32 bytes"},
		"with something else": {"?", false, "not 32 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			environment := &configv1.Environment{Id: new("e"), Name: new(DefaultEnvironment)}
			if test.printer != "" {
				environment.FingerprintKey = new(test.printer)
			}
			catalog := opened{"e": environment, "k": &configv1.KeyauthCredential{Id: new("k"), Key: new(key)}}
			w, lost, err := New(t.Context(), catalog, entities, []record.Row{{Table: tableEnvironments, ID: "e", Unique: map[string]string{"name": DefaultEnvironment}}})
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), test.printer) && len(test.printer) > 1 {
					t.Errorf("New = %v, want it to say %q", err, test.says)
				}
				return
			}
			if err != nil || len(lost) > 0 {
				t.Fatal(err, lost)
			}
			form, _, err := w.Form(t.Context(), row, nil)
			entry := form.In(0)
			if (err != nil) != test.kept || entry.Kept != test.kept || w.Locked() != test.kept {
				t.Errorf("kept %v, locked %v, %v", entry.Kept, w.Locked(), err)
			}
			var sent configv1.KeyauthCredential
			if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(entry.Body, &sent); err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(entry.Body, []byte(key)) || sent.Key != nil || (len(sent.Fingerprints) == 1) == test.kept {
				t.Errorf("a key leaves, or %d fingerprints", len(sent.Fingerprints))
			}
		})
	}
}
