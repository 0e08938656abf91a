package edgekeys_test

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/edgekeys"
	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/e2e/kmsplugin"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/localkeys/scopedkeys"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

func newKey() secret.Bytes { return secret.Take(bytes.Repeat([]byte{0x91}, 32)) }

func settingsFor(p *kmsplugin.Plugin, vault *vaulttest.Server) (s dpsettings.DataPlane) {
	s.Keys.KMSTimeout = 30 * time.Second
	if p != nil {
		s.Keys.KMSEndpoint = p.Endpoint()
	}
	if vault != nil {
		host, port, _ := net.SplitHostPort(strings.TrimPrefix(vault.URL, "https://"))
		s.References.Protocol, s.References.Host, s.References.AuthMethod = "https", host, "token"
		s.References.Port, _ = strconv.Atoi(port) // it is a port
		s.References.Token = secret.Take([]byte(vault.Root))
		s.Keys.TransitMount, s.Keys.TransitKey = "transit", "edge"
		s.Upstream.Trusted = []string{vault.CAFile}
	}
	return s
}

func TestWrappedKeysOpen(t *testing.T) {
	t.Parallel()
	plugin, vault := kmsplugin.Start(t, t.TempDir()), vaulttest.Start(t)
	vault.MountTransit("transit", "edge")
	o := edgekeys.NewOpener(settingsFor(plugin, vault))
	for name, wrap := range map[string]func() (string, error){
		"kms":   func() (string, error) { return o.WrapByKMS(t.Context(), newKey()) },
		"vault": func() (string, error) { return o.WrapByVault(t.Context(), newKey()) },
	} {
		wrapped, err := wrap()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if value, err := scopedkeys.ParseValue(wrapped); err != nil || value.Wrapped != wrapped {
			t.Errorf("%s: ParseValue = %v", name, err)
		}
		opened, err := o.OpenKey(t.Context(), wrapped)
		if err != nil || !opened.Equal(newKey()) {
			t.Errorf("%s: OpenKey: %v", name, err)
		}
		if _, err := edgekeys.NewOpener(dpsettings.DataPlane{}).OpenKey(t.Context(), wrapped); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s, nothing set: OpenKey = %v", name, err)
		}
	}
	for _, r := range vault.Requests() {
		if !strings.HasPrefix(r.Path, "transit/") {
			t.Errorf("it asks Vault for %s %s", r.Method, r.Path) // a token that it was given is not its own to end
		}
	}
	vault.Down()
	if _, err := o.OpenKey(t.Context(), "vault:v1:AAAA"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Vault away: OpenKey = %v", err)
	}
}

// What was given wrapped is remembered wrapped, and a service that is away costs what it alone opens, for now.
func TestWhatIsRemembered(t *testing.T) {
	t.Parallel()
	vault := vaulttest.Start(t)
	vault.MountTransit("transit", "edge")
	o := edgekeys.NewOpener(settingsFor(nil, vault))
	wrapped, err := o.WrapByVault(t.Context(), newKey())
	if err != nil {
		t.Fatal(err)
	}
	choose := func(value string) *scopedkeys.Choice {
		t.Helper()
		file := filepath.Join(t.TempDir(), "keys.yaml")
		if err := os.WriteFile(file, []byte("kmsEncryptionKey: "+value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		read, err := scopedkeys.Sources{File: file}.Read()
		if err != nil {
			t.Fatal(err)
		}
		choice, err := read.Choose(t.Context(), scopedkeys.Who{Organisation: "acme", Environment: "prod"}, o)
		if err != nil {
			t.Fatal(err)
		}
		return choice
	}
	dir, node := t.TempDir(), "acme/prod"
	own, err := localkeys.New(secret.Take(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	open := func(value string) (*localstore.Store, *edgekeys.Keys, localstore.State) {
		t.Helper()
		keys := edgekeys.New(own, choose(value), o, slog.New(slog.DiscardHandler))
		s, state, err := localstore.Open(dir, localstore.Options{Mode: localstore.AES256GCM, Node: node, Holder: keys})
		if err != nil {
			t.Fatal(err)
		}
		return s, keys, state
	}
	state := localstore.State{Version: 1, Entries: func(yield func(localstore.Entry) bool) {
		yield(localstore.Entry{Kind: "jwt_secrets", ID: "a", Class: localkeys.KMS, Bytes: []byte("x")})
	}}
	s, keys, _ := open(wrapped)
	if err := s.Replace(state); err != nil {
		t.Fatal(err)
	}
	if records := keys.Records(); len(records) != 1 || records[0].Wrapped != wrapped || records[0].Material.Len() != 0 {
		t.Errorf("it remembers the key itself: %d records", len(records))
	}
	s.Close()

	other := "AAECAwQFBgcICQoLDA0ODw=="
	vault.Down()
	s, keys, found := open(other)
	if found.Version != 0 || keys.Former() != 1 || s.Report().Status != localstore.Unopenable {
		t.Errorf("with Vault away: version %d, %d former keys, %+v", found.Version, keys.Former(), s.Report())
	}
	if usage, err := s.Usage(); err != nil || keys.Drop(usage.InUse) {
		t.Errorf("a key is forgotten that something is sealed by: %v", err)
	}
	s.Close()
	vault.Up()
	s, keys, found = open(other)
	defer s.Close()
	if found.Version != 1 || keys.Former() != 1 || s.Report().Rewritten != "a previous key" {
		t.Errorf("with Vault back: version %d, %d former keys, %+v", found.Version, keys.Former(), s.Report())
	}
	usage, err := s.Usage()
	if err != nil || !keys.Drop(usage.InUse) || keys.Former() != 0 {
		t.Errorf("%d former keys are left, %v", keys.Former(), err)
	}
	for _, use := range usage.Uses {
		if !keys.Seals(use) {
			t.Errorf("%+v is not by the keys of now", use)
		}
	}
}

// A key that is in use is needed from nobody else: how it was wrapped before may open no more, and is forgotten.
func TestAKeyInUseIsNoFormerOne(t *testing.T) {
	t.Parallel()
	own, err := localkeys.New(secret.Take(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	key, err := localkeys.NewScoped(newKey())
	if err != nil {
		t.Fatal(err)
	}
	choice := &scopedkeys.Choice{Chosen: map[localkeys.Section]scopedkeys.Chosen{{Class: localkeys.KMS}: {Key: key, Wrapped: "vault:v2:BBBB"}}}
	keys := edgekeys.New(own, choice, edgekeys.NewOpener(dpsettings.DataPlane{}), slog.New(slog.DiscardHandler))
	_, remember, err := keys.Ring([]localstore.Remembered{{ID: key.ID(), Wrapped: "vault:v1:AAAA"}})
	if err != nil || keys.Former() != 0 || len(remember) != 1 || remember[0].Wrapped != "vault:v2:BBBB" {
		t.Errorf("%d former keys, %d are remembered, %v", keys.Former(), len(remember), err)
	}
}

// A former key that could not be opened at the start is given again while the node runs: it is none any more then, else it would
// be in use and remembered as former for ever.
func TestAFormerKeyThatIsGivenAgain(t *testing.T) {
	t.Parallel()
	own, err := localkeys.New(secret.Take(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	key, err := localkeys.NewScoped(newKey())
	if err != nil {
		t.Fatal(err)
	}
	keys := edgekeys.New(own, &scopedkeys.Choice{}, edgekeys.NewOpener(dpsettings.DataPlane{}), slog.New(slog.DiscardHandler))
	if _, _, err := keys.Ring([]localstore.Remembered{{ID: key.ID(), Wrapped: "vault:v1:AAAA"}}); err != nil || keys.Former() != 1 {
		t.Fatalf("%d former keys, %v", keys.Former(), err)
	}
	undo := keys.Change(&scopedkeys.Choice{Chosen: map[localkeys.Section]scopedkeys.Chosen{{Class: localkeys.KMS}: {Key: key}}})
	if list := keys.Records(); keys.Former() != 0 || len(list) != 1 || list[0].Wrapped != "" {
		t.Errorf("%d former keys, %d are remembered", keys.Former(), len(list))
	}
	undo()
	if list := keys.Records(); keys.Former() != 1 || len(list) != 1 || list[0].Wrapped != "vault:v1:AAAA" {
		t.Errorf("taken back: %d former keys, %d are remembered", keys.Former(), len(list))
	}
}

func TestFormerKeysAreWipedToo(t *testing.T) {
	t.Parallel()
	own, err := localkeys.New(secret.Take(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	keys := edgekeys.New(own, &scopedkeys.Choice{}, edgekeys.NewOpener(dpsettings.DataPlane{}), slog.New(slog.DiscardHandler))
	if _, _, err := keys.Ring([]localstore.Remembered{{ID: "a", Material: newKey()}}); err != nil || keys.Former() != 1 {
		t.Fatalf("%d former keys, %v", keys.Former(), err)
	}
	keys.Wipe()
	for _, r := range keys.Records() {
		if r.Material.Equal(newKey()) {
			t.Errorf("key %s is held after the wipe", r.ID)
		}
	}
}
