package proof_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/proof"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// A witness believes what a node would, without a certificate of its own.
func TestWitness(t *testing.T) {
	t.Parallel()
	ca, stranger := mtlstest.NewCA(t, "cluster"), mtlstest.NewCA(t, "stranger")
	source, files, pair := ca.Source(t, controlPlane())
	other, _, _ := stranger.Source(t, controlPlane())
	gate, _, _ := ca.Source(t, mtlstest.Leaf{})
	revoked := filepath.Join(t.TempDir(), "crl.pem")
	mtlstest.Write(t, revoked, ca.CRL(t, 2, time.Now().Add(time.Hour), pair))
	said := signed(t, source, "c", "m")
	tests := map[string]struct {
		crl, context, message string
		said                  []byte
		want                  verdict.Reason
	}{
		"what was said":          {files.CRL, "c", "m", said, ""},
		"without a CRL":          {"", "c", "m", said, ""},
		"another context":        {files.CRL, "d", "m", said, verdict.BadProof},
		"another message":        {files.CRL, "c", "n", said, verdict.BadProof},
		"no proof":               {files.CRL, "c", "m", nil, verdict.BadProof},
		"a stranger":             {files.CRL, "c", "m", signed(t, other, "c", "m"), verdict.UnknownCA},
		"another role":           {files.CRL, "c", "m", signed(t, gate, "c", "m"), verdict.WrongRole},
		"a revoked one":          {revoked, "c", "m", said, verdict.Revoked},
		"a certificate, no sign": {files.CRL, "c", "m", said[:len(said)-1], verdict.BadProof},
	}
	for name, test := range tests {
		witness, err := mtls.OpenWitness(files.CA, test.crl)
		if err != nil {
			t.Fatal(err)
		}
		id, err := witness.Proven(test.context, []byte(test.message), test.said, proof.Ever, identity.ControlPlane)
		if test.want == "" {
			if err != nil || id.String() != source.Identity().String() {
				t.Errorf("%s: %v, %v", name, id, err)
			}
			continue
		}
		if refusal, ok := errors.AsType[*verdict.Refusal](err); !ok || refusal.Reason != test.want {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
	for _, paths := range [][2]string{{"/nowhere", ""}, {files.Key, ""}, {files.CA, "/nowhere"}, {files.CA, files.CA}} {
		if _, err := mtls.OpenWitness(paths[0], paths[1]); err == nil {
			t.Errorf("OpenWitness(%q) believes", paths)
		}
	}
}
