package keyring_test

import (
	"encoding/hex"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/record"
)

var update = flag.Bool("update", false, "write golden files")

// What proofs cover and what is stored must stay the same.
func TestGolden(t *testing.T) {
	t.Parallel()
	row := record.Key{
		ID: "LaW1urRQ", State: keyring.StateUsable, CreatedAt: 1790000000, ActivatedAt: 1790000001,
		Check: []byte("check"), Recovery: []byte("recovery"), Wrapped: []byte("wrapped"), Signature: []byte("not covered"),
	}
	got := map[string]string{
		"row.golden":  hex.EncodeToString(keyring.RowMessage("cluster", row)) + "\n",
		"head.golden": hex.EncodeToString(keyring.HeadMessage("cluster", 7, "LaW1urRQ", 1790000000000)) + "\n" + keyring.ForgedHead(keyringtest.Prover("golden"), "cluster", 7, "LaW1urRQ", 1790000000000) + "\n",
	}
	for name, text := range got {
		path := "testdata/" + name
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || string(want) != text {
			t.Errorf("%s (%v):\n%s\nwant\n%s", name, err, text, want)
		}
	}
	if sequence, active, at, err := keyring.ParseHead(strings.Split(got["head.golden"], "\n")[1]); sequence != 7 || active != "LaW1urRQ" || at != 1790000000000 || err != nil {
		t.Errorf("ParseHead = %d, %s, %d, %v", sequence, active, at, err)
	}
}

func FuzzParseHead(f *testing.F) {
	f.Add(keyring.ForgedHead(keyringtest.Prover("fuzz"), "cluster", 7, "LaW1urRQ", 1790000000000))
	f.Add(`{"sequence":0,"active":"LaW1urRQ"}`)
	f.Add(`{"sequence":18446744073709551615,"active":"LaW1urRQ","at":-1}`)
	f.Add(`{"active":"../../x","sequence":1}`)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		sequence, active, _, err := keyring.ParseHead(text)
		if err == nil && (sequence == 0 || sequence > 1<<62 || len(active) != 8) {
			t.Errorf("ParseHead = %d, %q", sequence, active)
		}
		if err != nil && len(text) > 40 && strings.Contains(err.Error(), text) {
			t.Error("the error quotes the text")
		}
	})
}
