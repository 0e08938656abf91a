package kms_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/keyring/kms"
	"github.com/keepgate/keepgate/shared/kmsclient"
)

var update = flag.Bool("update", false, "write golden files")

var wrappedGolden = kmsclient.Wrapped{
	KeyID: "key-1", Ciphertext: []byte("ciphertext"), Annotations: map[string][]byte{"b.example": []byte("2"), "a.example": {}},
}

// What rests in databases must stay readable.
func TestWrappedGolden(t *testing.T) {
	t.Parallel()
	got := hex.EncodeToString(kms.Encode("v2", "corp", wrappedGolden)) + "\n" +
		hex.EncodeToString(kms.Encode("v1", "corp", kmsclient.Wrapped{KeyID: "v1", Ciphertext: []byte("c")})) + "\n"
	const path = "testdata/wrapped.golden"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
	text, err := hex.DecodeString(strings.Fields(got)[0])
	if err != nil {
		t.Fatal(err)
	}
	api, provider, w, err := kms.Parse(text)
	if diff := cmp.Diff(wrappedGolden, w); api != "v2" || provider != "corp" || err != nil || diff != "" {
		t.Errorf("%s, %s, %v (-want +got)\n%s", api, provider, err, diff)
	}
}

func TestWrappedIsRefused(t *testing.T) {
	t.Parallel()
	good := kms.Encode("v2", "corp", wrappedGolden)
	twice := append(bytes.Clone(good), "\x00\x00\x00\x09b.example\x00\x00\x00\x00"...)
	for name, text := range map[string][]byte{
		"nothing":               nil,
		"a version alone":       good[:1],
		"another version":       append([]byte{2}, good[1:]...),
		"cut":                   good[:len(good)-1],
		"a byte more":           append(bytes.Clone(good), 0),
		"half an annotation":    append(bytes.Clone(good), 0, 0, 0, 0),
		"an annotation twice":   twice,
		"a length beyond":       {1, 0xff, 0xff, 0xff, 0xff},
		"more than there is":    append([]byte{1}, bytes.Repeat([]byte{0, 0, 0, 0}, 40<<10)...),
		"of the local strategy": append([]byte{1}, bytes.Repeat([]byte{7}, 72)...),
	} {
		if _, _, _, err := kms.Parse(text); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

func FuzzWrapped(f *testing.F) {
	f.Add(kms.Encode("v2", "corp", wrappedGolden))
	f.Add(kms.Encode("v1", "", kmsclient.Wrapped{}))
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		api, provider, w, err := kms.Parse(text)
		if err == nil && !bytes.Equal(kms.Encode(api, provider, w), text) {
			t.Fatal("two texts stand for the same")
		}
	})
}
