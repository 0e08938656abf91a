package proxycache

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/cachestore"
	"github.com/keepgate/keepgate/dataplane/exchange"
)

// sample is the response that testdata/kept.golden holds.
func sample() (k kept, b []byte) {
	k = kept{flags: flagStrict, status: 203, stored: 1_800_000_000, age: 7, lifetime: 300, length: -1, key: cachestore.Name{1, 2, 3}}
	b = k.appendHead(nil, func(yield func(name, value string) bool) {
		_ = yield("Content-Type", "text/plain") && yield("X-Empty", "")
	})
	return k, append(b, "hello"...)
}

func TestGolden(t *testing.T) {
	t.Parallel()
	want, b := sample()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile("testdata/kept.golden", []byte(hex.EncodeToString(b)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("testdata/kept.golden")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || !bytes.Equal(golden, b) {
		t.Errorf("what is kept has another form: %x", b)
	}
	got, err := decode(golden)
	if err != nil || got.status != want.status || got.stored != want.stored || got.age != 7 || got.lifetime != 300 || got.length != -1 || got.key != want.key || got.flags != flagStrict || string(got.body) != "hello" {
		t.Errorf("%+v %v", got, err)
	}
	name, value, _ := got.fields.next()
	other, empty, _ := got.fields.next()
	if name != "Content-Type" || value != "text/plain" || other != "X-Empty" || empty != "" || got.fields.count != 0 {
		t.Errorf("fields %q %q %q %q", name, value, other, empty)
	}
	for n := range len(golden) - len("hello") {
		if _, err := decode(golden[:n]); err == nil {
			t.Errorf("the first %d bytes decode", n)
		}
	}
}

func FuzzDecode(f *testing.F) {
	_, b := sample()
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := decode(b)
		if err != nil {
			return
		}
		again := k.appendHead(nil, func(yield func(name, value string) bool) {
			for left := k.fields; left.count > 0; {
				name, value, ok := left.next()
				if !ok {
					t.Fatal("a field that decode has seen is not there")
				}
				if !yield(name, value) {
					return
				}
			}
		})
		if again = append(again, k.body...); !bytes.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}

func FuzzCacheControl(f *testing.F) {
	for _, text := range []string{"no-store", `private="a,b", max-age=3`, "max-age=99999999999999999999", "max-stale, min-fresh=1", `x="\"`, "max-age=-1", ","} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var header exchange.Header
		header.AddParsed("cache-control", text)
		c := readControl(&header)
		for _, n := range []int64{c.maxAge, c.sMaxAge, c.minFresh} {
			if n < -1 || n > 1<<31 {
				t.Errorf("%q: %d seconds", text, n)
			}
		}
		header.AddParsed("Cache-Control", "No-Store")
		if both := readControl(&header); !both.noStore || c.private && !both.private {
			t.Errorf("%q hides what follows", text)
		}
		parseMedia(text)
	})
}
