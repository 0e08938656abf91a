package apply

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/configset"
)

// storedForms are the forms that an entry has in the local store.
func storedForms() map[string]configset.Entry {
	return map[string]configset.Entry{
		"published":                {Body: []byte("body")},
		"published, empty":         {Body: []byte{}},
		"kept, never held":         {Kept: true, Body: []byte("shell")},
		"kept":                     {Kept: true, Body: []byte{}, Last: []byte("last")},
		"kept, with what is read":  {Kept: true, Body: []byte("shell"), Last: []byte("last")},
		"kept, empty when it came": {Kept: true, Body: []byte{}, Last: []byte{}},
		"kept, long":               {Kept: true, Body: bytes.Repeat([]byte("s"), 300), Last: []byte("last")},
	}
}

func TestStoredFormsAreFrozen(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("testdata/stored.golden")
	if err != nil {
		t.Fatal(err)
	}
	for name, e := range storedForms() {
		e.Kind, e.ID = "plugins", "x"
		form := appendStored(nil, e)
		if line := fmt.Sprintf("%s: %s\n", name, hex.EncodeToString(form)); !strings.Contains(string(golden), line) {
			t.Errorf("the form changed; stores in the field have the old one:\n%s", line)
		}
		back, err := readStored(localstore.Entry{Kind: e.Kind, ID: e.ID, Bytes: form})
		if diff := cmp.Diff(e, back); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}

func FuzzReadStored(f *testing.F) {
	for _, e := range storedForms() {
		f.Add(appendStored(nil, e))
	}
	f.Add([]byte{storedKept, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{9})
	f.Fuzz(func(t *testing.T, form []byte) {
		e, err := readStored(localstore.Entry{Bytes: form})
		if err != nil {
			return
		}
		again, err := readStored(localstore.Entry{Bytes: appendStored(nil, e)})
		if err != nil || !cmp.Equal(e, again) {
			t.Fatalf("%x is read as another entry the second time: %v", form, err)
		}
	})
}
