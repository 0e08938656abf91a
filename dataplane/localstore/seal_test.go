package localstore_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/localstore"
)

func TestAnotherModeOrKeyIsWrittenAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		from   localstore.Mode
		change func(o *localstore.Options)
		want   string
	}{
		"plaintext under a sealed mode": {localstore.Off, func(o *localstore.Options) { o.Mode = localstore.AES256GCM }, "another mode"},
		"sealed under mode off":         {localstore.AES256GCM, func(o *localstore.Options) { o.Mode = localstore.Off }, "another mode"},
		"another cipher":                {localstore.AES256GCM, func(o *localstore.Options) { o.Mode = localstore.ChaCha20Poly1305 }, "another mode"},
		"a previous key":                {localstore.AES256GCM, func(o *localstore.Options) { o.Keys = newRing(t, 2, 1) }, "a previous key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, options := twoGenerations(t, test.from), optionsFor(t, test.from)
			test.change(&options)
			s, state := open(t, dir, options)
			wants(t, "first Open", state, 3, versions[3])
			if r := s.Report(); r.Status != localstore.Whole || r.Rewritten != test.want || r.Generation != 3 {
				t.Errorf("report = %+v", r)
			}
			if got := names(t, dir); len(got) != 3 { // lock, snapshot, journal: nothing in the old form is left
				t.Errorf("files = %v", got)
			}
			s.Close()
			if test.want == "a previous key" {
				options.Keys = newRing(t, 2)
			}
			s, state = open(t, dir, options)
			wants(t, "second Open", state, 3, versions[3])
			if r := s.Report(); r.Status != localstore.Whole || r.Rewritten != "" {
				t.Errorf("report = %+v", r)
			}
			if options.Mode != localstore.Off {
				noCanary(t, dir)
			}
		})
	}
}

func TestNoPlaintextOnDisk(t *testing.T) {
	t.Parallel()
	for _, mode := range []localstore.Mode{localstore.AES256GCM, localstore.ChaCha20Poly1305} {
		noCanary(t, twoGenerations(t, mode))
	}
	plain := false // the search itself must be able to find something
	for _, data := range files(t, twoGenerations(t, localstore.Off)) {
		plain = plain || bytes.Contains(data, []byte("canary"))
	}
	if !plain {
		t.Error("the canary is not even found in mode off")
	}
}

func noCanary(t *testing.T, dir string) {
	t.Helper()
	for name, data := range files(t, dir) {
		for _, canary := range []string{"canary-key-k", "canary-route"} {
			forms := []string{canary, hex.EncodeToString([]byte(canary))}
			for shift := range 3 { // base64 of a part depends on where the part begins
				text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + canary))
				forms = append(forms, text[4:len(text)-4])
			}
			for _, form := range forms {
				if bytes.Contains(data, []byte(form)) {
					t.Errorf("%s holds %q", name, form)
				}
			}
		}
	}
}
