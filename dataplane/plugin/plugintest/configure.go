package plugintest

import (
	"encoding/hex"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/compile"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/declarative"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/verifier"
)

// Configure puts a declarative file into force. "{{origin}}" in it stands for the URL of the origin, and _format_version may
// be left out. It fails the test when the file is at fault or something of it is quarantined.
func (g *Gate) Configure(file string) {
	g.t.Helper()
	for _, q := range g.TryConfigure(file) {
		g.t.Errorf("quarantined: %s %s %s: %s", q.Kind, q.ID, q.Name, q.Reason)
	}
	if g.t.Failed() {
		g.t.FailNow()
	}
}

// TryConfigure is Configure that returns what was quarantined.
func (g *Gate) TryConfigure(file string) []compile.Quarantined {
	g.t.Helper()
	set := g.Set(file)
	compiled, quarantined := g.compiler.Compile(func(yield func(compile.Entity) bool) {
		for e := range set.All() {
			if !yield(compile.Entity{Kind: e.Kind, ID: e.ID, Body: e.Body}) {
				return
			}
		}
	})
	g.Tables.Swap(compiled)
	return quarantined
}

// Set returns what a control plane would send of a declarative file.
func (g *Gate) Set(file string) configset.Set {
	g.t.Helper()
	file = strings.NewReplacer("{{origin}}", g.Origin.URL, "{{quiet}}", g.quiet).Replace(file)
	if !strings.Contains(file, "_format_version") {
		file = "_format_version: \"3.0\"\n" + file
	}
	s := g.schema
	parsed, err := declarative.Parse(s, "test.yaml", []byte(file))
	if err != nil {
		g.t.Fatalf("%v\n%s", err, file)
	}
	key := &configv1.FingerprintKey{Id: "fingerprint-key", Key: g.key}
	set := configset.Set{}.Put(configset.Entry{Kind: "fingerprint_keys", ID: key.Id, Body: g.encode(key)})
	for _, one := range parsed.Entities {
		e, _ := s.Entity(one.Table)
		if !e.Travels() {
			continue
		}
		message, err := s.Build(e, nil, one.Document, schema.Insert, nil)
		if err != nil {
			g.t.Fatal(err)
		}
		g.oneWay(message)
		body, err := s.Wire(e, message)
		if err != nil {
			g.t.Fatal(err)
		}
		set = set.Put(configset.Entry{Kind: one.Table, ID: e.ID(message), Body: body})
	}
	return set
}

// oneWay puts in what a gate gets instead of a secret that it only verifies.
func (g *Gate) oneWay(message proto.Message) {
	switch m := message.(type) {
	case *configv1.KeyauthCredential:
		sum := verifier.NewFingerprinter(secret.Take(append([]byte(nil), g.key...))).For("keyauth_credentials", "key").Sum(m.GetKey())
		m.Fingerprints, m.Key = []string{hex.EncodeToString(sum[:])}, nil
	case *configv1.BasicauthCredential:
		if g.hashes[m.GetPassword()] == "" {
			g.hashes[m.GetPassword()] = verifier.HashPassword([]byte(m.GetPassword()))
		}
		m.Password = new(g.hashes[m.GetPassword()])
	}
}

func (g *Gate) encode(m proto.Message) []byte {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		g.t.Fatal(err)
	}
	return body
}
