package catalog_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/record"
)

// A body is rewritten in the form of the writer, whatever stands in it.
func TestResealOfAnyBody(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("consumers", `{"username":"bob"}`)
	plugin := id(e.insert("plugins", nested))
	rows := e.secretRows()["plugins"]
	clearing, err := encryption.New(t.Context(), e.store, encryption.FromSettings(e.ring, encryption.Options{Decrypt: true}))
	if err != nil {
		t.Fatal(err)
	}
	migrating, err := encryption.New(t.Context(), e.store, encryption.FromSettings(e.ring, encryption.Options{Migrate: true})) // since decrypt-all began
	if err != nil || !migrating.Migrating() {
		t.Fatal(err)
	}
	toSealed := catalog.New(e.store, testSchema(), migrating, catalog.Options{})
	toClear := catalog.New(e.store, testSchema(), clearing, catalog.Options{})
	secret := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", `"`, `\`, `","endpoint":"`, "p", "\u2028", "<&>"}))
	rapid.Check(t, func(t *rapid.T) {
		config := map[string]any{
			"endpoint": secret.Draw(t, "endpoint"), "public": secret.Draw(t, "public"),
			"client_id": rapid.SliceOfN(secret, 0, 4).Draw(t, "client_id"),
			"headers":   rapid.MapOfN(rapid.StringMatching("[a-z]"), secret, 0, 3).Draw(t, "headers"),
		}
		text, err := json.Marshal(map[string]any{"id": plugin, "name": "secretive", "config": config, "enabled": true})
		if err != nil {
			t.Fatal(err)
		}
		row := rows[0]
		row.Body = text
		if bytes.Contains(text, []byte("$ke$")) || bytes.Contains(text, []byte("k8s:enc:")) {
			t.Skip("refused in clear")
		}
		once := rewritten(t, toSealed, row)
		for _, value := range secrets(config) {
			if value != "p" && len(value) > 3 && value != config["public"] && bytes.Contains(once.Body, quoted(value)) {
				t.Fatalf("%q rests in clear", value)
			}
		}
		clear := rewritten(t, toClear, once)
		again := rewritten(t, toSealed, clear)
		for name, row := range map[string]record.Row{"sealed": once, "cleared": clear, "sealed again": again} {
			if got, want := configOf(t, toSealed, row), configOf(t, toSealed, rows[0], text); got != want {
				t.Fatalf("%s: %s, want %s", name, got, want)
			}
		}
	})
}

func quoted(value string) []byte {
	text, _ := json.Marshal(value) // of a string: cannot fail
	return text
}

func secrets(config map[string]any) (list []string) {
	list = append(list, config["endpoint"].(string))
	list = append(list, config["client_id"].([]string)...)
	for value := range maps.Values(config["headers"].(map[string]string)) {
		list = append(list, value)
	}
	return list
}

func rewritten(t *rapid.T, c *catalog.Catalog, row record.Row) record.Row {
	changed, bad, err := c.Reseal(t.Context(), row.Table, []record.Row{row})
	if err != nil || len(bad) != 0 {
		t.Fatalf("Reseal: %v, %v", bad, err)
	}
	if len(changed) == 1 {
		row.Body = changed[0].Body
	}
	return row
}

// configOf is the opened configuration, of another body if one is given.
func configOf(t *rapid.T, c *catalog.Catalog, row record.Row, body ...[]byte) string {
	if body != nil {
		row.Body = body[0]
	}
	m, err := c.Open(t.Context(), row)
	if err != nil {
		t.Fatal(err)
	}
	entity, _ := testSchema().Entity(row.Table)
	return string(testSchema().EncodeStored(entity, m))
}
