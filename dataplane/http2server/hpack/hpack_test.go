package hpack_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	xhpack "golang.org/x/net/http2/hpack"

	"github.com/keepgate/keepgate/dataplane/http2server/hpack"
)

func decode(d *hpack.Decoder, block []byte) (list []string, err error) {
	err = d.Decode(block, func(name, value string, _ bool) { list = append(list, strings.Clone(name)+": "+value) })
	for i := range list {
		list[i] = strings.Clone(list[i])
	}
	return list, err
}

// The examples of RFC 7541, Appendix C.3, C.4 and C.6: three requests of one connection each, plain and with Huffman codes.
func TestExamples(t *testing.T) {
	t.Parallel()
	requests := [][]string{
		{":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"},
		{":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"},
		{":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com", "custom-key: custom-value"},
	}
	for name, blocks := range map[string][]string{
		"C.3": {
			"828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865",
			"828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
		},
		"C.4": {"828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf", "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"},
	} {
		var d hpack.Decoder
		for i, text := range blocks {
			block, err := hex.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := decode(&d, block)
			if diff := cmp.Diff(requests[i], got); diff != "" || err != nil {
				t.Errorf("%s, request %d: %v %s", name, i, err, diff)
			}
		}
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	for name, block := range map[string]string{
		"index 0":                        "\x80",
		"an index beyond":                "\xbe",
		"a name beyond":                  "\x7e\x01a",
		"a string cut off":               "\x00\x05ab",
		"a number cut off":               "\xff\x80",
		"a number too large":             "\xff\xff\xff\xff\xff\xff\xff\x7f",
		"a table too large":              "\x3f\xe2\x1f",
		"a change of size after a field": "\x82\x20",
		"Huffman padding too long":       "\x00\x82\xff\xff\x01a",
		"Huffman's end of string":        "\x00\x84\xff\xff\xff\xff\x01a",
		"no value":                       "\x00\x01a",
		"nothing after a name's index":   "\x41",
	} {
		var d hpack.Decoder
		if got, err := decode(&d, []byte(block)); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Whatever the standard encoder says over a long connection arrives, and so it does in the other direction.
func TestLongConnection(t *testing.T) {
	t.Parallel()
	var block bytes.Buffer
	e := xhpack.NewEncoder(&block)
	var d hpack.Decoder
	for round := range 3000 {
		if round%500 == 250 {
			e.SetMaxDynamicTableSizeLimit(uint32(rand.IntN(hpack.TableSize)))
			e.SetMaxDynamicTableSize(uint32(rand.IntN(hpack.TableSize)))
		}
		block.Reset()
		var want []string
		for range 1 + rand.IntN(8) {
			f := xhpack.HeaderField{Name: fmt.Sprint("n", rand.IntN(60)), Value: strings.Repeat("v", rand.IntN(90)), Sensitive: rand.IntN(9) == 0}
			if rand.IntN(300) == 0 {
				f.Value = strings.Repeat("long", 1200)
			}
			_ = e.WriteField(f)
			want = append(want, f.Name+": "+f.Value)
		}
		got, err := decode(&d, block.Bytes())
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("round %d: %v %s", round, err, diff)
		}
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 40000)
	for status := 100; status < 600; status++ {
		w := hpack.AppendStatus([]byte{hpack.ForgetTable}, status)
		w = hpack.AppendField(w, "Content-Type", "text/plain")
		w = hpack.AppendField(w, "X-Up-Over-And-Over-And-Over-And-Over", "v")
		w = hpack.AppendField(w, "WWW-Authenticate", "")
		w = hpack.AppendField(w, "x", long)
		w = hpack.AppendNumber(w, "content-length", 1<<62)
		var got []string
		list, err := xhpack.NewDecoder(4096, nil).DecodeFull(w)
		for _, f := range list {
			got = append(got, f.Name+": "+f.Value)
		}
		want := []string{
			fmt.Sprint(":status: ", status), "content-type: text/plain", "x-up-over-and-over-and-over-and-over: v", "www-authenticate: ",
			"x: " + long, "content-length: 4611686018427387904",
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("%v %s", err, diff)
		}
	}
}

// FuzzDecode holds the decoder to the one of golang.org/x/net, over two blocks of one connection.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"828684410f7777772e6578616d706c652e636f6d", "828684418cf1e3c2e5f23a6ba0ab90f4ff", "3fe11f20828684be5886a8eb10649cbf",
		"400a637573746f6d2d6b65790c637573746f6d2d76616c7565be7e0161", "be7e016180", "2082", "0085f1f0", "ff80808000",
	} {
		b, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		var d hpack.Decoder
		x := xhpack.NewDecoder(hpack.TableSize, nil)
		for _, block := range [][]byte{one, two} {
			got, err := decode(&d, block)
			list, xerr := x.DecodeFull(block)
			if (err == nil) != (xerr == nil) && !odd(err, xerr) {
				t.Fatalf("%x: %v, and x/net %v", block, err, xerr)
			}
			if err != nil || xerr != nil {
				return
			}
			var want []string
			for _, f := range list {
				want = append(want, f.Name+": "+f.Value)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%x: %s", block, diff)
			}
		}
	})
}

// odd are the blocks that may be taken either way: numbers longer than they need be, and changes of size beside the first one at the
// beginning, which x/net takes only, and anywhere, where the table is empty.
func odd(err, xerr error) bool {
	return err == hpack.ErrNumber || err == hpack.ErrResize || err == nil && xerr != nil && strings.Contains(xerr.Error(), "dynamic table size update")
}
