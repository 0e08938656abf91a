package app

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/health"
	"github.com/keepgate/keepgate/shared/aead"
)

// Who writes into the database chooses how values begin there, and neither ends the process by that nor fills its memory.
func TestOperationsOfWhatNobodyWrote(t *testing.T) {
	t.Parallel()
	metrics := health.NewEncryption("node")
	v := &providers{metrics: metrics}
	cipher, err := encryption.New(t.Context(), emptyStore{}, encryption.FromSettings(nil, encryption.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	c := counting{cipher, v.operations()}
	place := aead.Place{Table: "keyauth_credentials", Row: "a", Field: "key"}
	for i := range 100 {
		_, _, _ = c.Open(place, fmt.Sprintf("k8s:enc:aesgcm:v1:key%d:AAAA", i))
	}
	_, _, _ = c.Open(place, "k8s:enc:aesgcm:v1:\xff:AAAA")
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics)
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || len(families[0].GetMetric()) != 1 || !strings.Contains(families[0].String(), `value:"unknown"`) {
		t.Errorf("metrics = %.300v, %v; want one series for all that no provider reads", families, err)
	}
}

// emptyStore is a database without named values.
type emptyStore struct{}

func (emptyStore) Meta(context.Context, string) (string, bool, error) { return "", false, nil }

func (emptyStore) SwapMeta(context.Context, string, *string, string) error { return nil }
