package kubeapi

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

var update = flag.Bool("update", false, "write golden files anew")

func TestCipherOfVersionOne(t *testing.T) {
	t.Parallel()
	got := hex.EncodeToString(appendCipher(nil, "prod.7.0123456789abcdef", []byte("ciphertext"))) + "\n"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("testdata/v1.golden", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/v1.golden")
	if err != nil || got != string(want) {
		t.Errorf("the cipher is %s, want %s (%v)", got, want, err)
	}
	for name, cipher := range map[string]string{
		"nothing": "", "a byte": "\x01", "no key_id": "\x01\x00\x00c", "no ciphertext": "\x01\x00\x01k", "cut": "\x01\x00\x05key",
		"another version": "\x02\x00\x01kc", "a key_id too long": "\x01\x04\x01" + strings.Repeat("k", 1026),
	} {
		if _, _, err := parseCipher([]byte(cipher)); !errors.Is(err, errNotOurs) {
			t.Errorf("%s: parseCipher = %v", name, err)
		}
	}
}

func FuzzParseCipher(f *testing.F) {
	f.Add(appendCipher(nil, "prod.7.0123456789abcdef", []byte("ciphertext")))
	f.Add([]byte{1, 0, 1, 'k', 'c'})
	f.Add([]byte{1, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, cipher []byte) {
		id, ciphertext, err := parseCipher(cipher)
		if err == nil && !bytes.Equal(appendCipher(nil, id, ciphertext), cipher) {
			t.Errorf("%x reads as %q, %x, which is written otherwise", cipher, id, ciphertext)
		}
	})
}

// A secret lives as long as somebody waits for it, and no longer.
func TestFlights(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := flights{lanes: map[flightKey]*lane{}}
		release, made, calls := make(chan struct{}), []byte("a secret"), 0
		var seen context.Context
		var named []string
		var last []byte
		call := func(ctx context.Context, uids []string) ([]byte, error) {
			calls, seen, named = calls+1, ctx, append(named, uids...)
			made := bytes.Clone(made)
			last = made
			select {
			case <-release:
				return made, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		first, leave := context.WithCancel(t.Context())
		results := make(chan string, 10)
		join := func(ctx context.Context, uid string) {
			plaintext, err := f.join(ctx, flightKey{"k", "c"}, uid, call)
			if err != nil {
				plaintext = []byte(err.Error())
			}
			results <- string(plaintext)
		}
		go join(first, "1")
		synctest.Wait()
		go join(t.Context(), "2")
		synctest.Wait()
		go join(t.Context(), "3")
		synctest.Wait()
		leave()
		if got := <-results; got != context.Canceled.Error() {
			t.Errorf("the one that left: %s", got)
		}
		synctest.Wait()
		if seen.Err() != nil || calls != 2 {
			t.Errorf("after %d calls, that of those who stayed: %v", calls, seen.Err())
		}
		close(release)
		for range 2 {
			if got := <-results; got != "a secret" {
				t.Errorf("one that stayed: %q", got)
			}
		}
		synctest.Wait()
		if calls != 2 || len(f.lanes) != 0 || !bytes.Equal(last, make([]byte, len(last))) {
			t.Errorf("%d calls, %d under way, and the secret is %q", calls, len(f.lanes), last)
		}
		if !slices.Equal(named, []string{"1", "2", "3"}) {
			t.Errorf("named were %v", named)
		}

		release = make(chan struct{}) // all leave: the call ends
		alone, leave := context.WithCancel(t.Context())
		go join(alone, "4")
		synctest.Wait()
		leave()
		<-results
		synctest.Wait()
		if seen.Err() == nil || len(f.lanes) != 0 {
			t.Error("a call goes on that nobody waits for")
		}

		named = nil // who makes a call for another leaves: it goes on for that one
		go join(t.Context(), "5")
		synctest.Wait()
		leading, leave := context.WithCancel(t.Context())
		go join(leading, "6")
		synctest.Wait()
		go join(t.Context(), "7")
		synctest.Wait()
		leave()
		synctest.Wait()
		close(release)
		got := []string{<-results, <-results, <-results}
		slices.Sort(got)
		if want := []string{"a secret", "a secret", context.Canceled.Error()}; !slices.Equal(got, want) {
			t.Errorf("the results are %q, want %q", got, want)
		}
		synctest.Wait()
		if !slices.Equal(named, []string{"5", "6", "7"}) || len(f.lanes) != 0 || !bytes.Equal(last, make([]byte, len(last))) {
			t.Errorf("named were %v, %d lanes are left, and the secret is %q", named, len(f.lanes), last)
		}
	})
}
