package heads_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/audit/heads"
)

const cluster = "5c2a6a5e-3a52-4a1f-8c4f-4f1e6c1c7d10"

func head(sequence uint64, at time.Duration) heads.Held {
	hash := bytes.Repeat([]byte{byte(sequence)}, 32)
	return heads.Held{Head: heads.Head{Cluster: cluster, Node: "node-1", Sequence: sequence, Hash: hash, At: 1_700_000_000_000 + at.Milliseconds()}}
}

// Heads travel between nodes of different versions, and files outlive programs.
func TestGolden(t *testing.T) {
	t.Parallel()
	own := head(80, 0)
	peers := head(81, time.Second)
	peers.Proof, peers.From, peers.Conflict = []byte("proof"), "keepgate://control-plane/acme/-/cp-2", true
	var got bytes.Buffer
	for _, h := range []heads.Held{own, peers} {
		fmt.Fprintf(&got, "%s\n%x\n", h.Encode(), h.Message())
	}
	want, err := os.ReadFile("testdata/heads.golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("heads (-want +got):\n%s", diff)
	}
	for line := range strings.Lines(string(want)) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		h, err := heads.ParseHeld([]byte(strings.TrimSuffix(line, "\n")))
		if err != nil || (!h.Conflict && !cmp.Equal(h, own)) || (h.Conflict && !cmp.Equal(h, peers)) {
			t.Errorf("read back %+v, %v", h, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	good := string(head(80, 0).Encode())
	hash := strings.Repeat("50", 32)
	for name, text := range map[string]string{
		"nothing":               "",
		"no object":             "[]",
		"another version":       strings.Replace(good, `"v":1`, `"v":2`, 1),
		"no version":            strings.Replace(good, `"v":1,`, ``, 1),
		"no cluster":            strings.Replace(good, cluster, "", 1),
		"a node with a slash":   strings.Replace(good, "node-1", "node/1", 1),
		"a node that is long":   strings.Replace(good, "node-1", strings.Repeat("n", 65), 1),
		"sequence 0":            strings.Replace(good, "80", "0", 1),
		"a negative sequence":   strings.Replace(good, "80", "-80", 1),
		"a fraction":            strings.Replace(good, "80", "80.0", 1),
		"no time":               strings.Replace(good, "1700000000000", "0", 1),
		"a short hash":          strings.Replace(good, hash, hash[2:], 1),
		"a hash in capitals":    strings.Replace(good, hash, strings.Repeat("AB", 32), 1),
		"no hex":                strings.Replace(good, hash, "zz"+hash[2:], 1),
		"a member more":         strings.Replace(good, "{", `{"x":1,`, 1),
		"a member twice":        strings.Replace(good, "{", `{"v":1,`, 1),
		"members in capitals":   strings.Replace(good, "node\"", "Node\"", 1),
		"a space":               good + " ",
		"something behind":      good + "{}",
		"an empty proof":        strings.Replace(good, "}", `,"proof":""}`, 1),
		"a proof that is long":  strings.Replace(good, "}", `,"proof":"`+strings.Repeat("AAAA", 11<<10)+`"}`, 1),
		"a line of megabytes":   good + strings.Repeat(" ", 1<<20),
		"a line of the file":    strings.Replace(good, "}", `,"from":"keepgate://control-plane/acme/-/x"}`, 1),
		"evidence":              strings.Replace(good, "}", `,"conflict":true}`, 1),
		"what is no conflict":   strings.Replace(good, "}", `,"conflict":false}`, 1),
		"from nobody in a line": strings.Replace(good, "}", `,"from":""}`, 1),
	} {
		if h, err := heads.Parse([]byte(text)); err == nil {
			t.Errorf("%s is read as %+v", name, h)
		}
	}
	if _, err := heads.Parse([]byte(good)); err != nil {
		t.Error(err)
	}
}

// What a parser takes is what would be written.
func FuzzParse(f *testing.F) {
	f.Add(head(80, 0).Encode())
	h := head(81, 0)
	h.Proof, h.From, h.Conflict = []byte("proof"), "keepgate://control-plane/acme/-/cp-2", true
	f.Add(h.Encode())
	f.Add([]byte(`{"v":1,"cluster":"c","node":"n","sequence":18446744073709551615,"hash":"` + strings.Repeat("00", 32) + `","at":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		held, err := heads.ParseHeld(data)
		if err != nil {
			return
		}
		if again := held.Encode(); !bytes.Equal(again, data) {
			t.Errorf("%q is read, %q is written", data, again)
		}
		if h, err := heads.Parse(data); err == nil && !cmp.Equal(h, held.Head) {
			t.Errorf("two readings of %q", data)
		}
	})
}

func open(t *testing.T, path string) *heads.Book {
	t.Helper()
	b, damage, err := heads.Open(path)
	if err != nil || damage != nil {
		t.Fatalf("Open: %v, %q", err, damage)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// A file holds what was flushed after any crash: cut at every byte, it gives back the heads before the cut.
func TestFileSurvivesACrash(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "heads")
	b := open(t, path)
	var sizes []int
	for i := range 4 {
		if v := b.Take(head(uint64(i+1), time.Duration(i)*25*time.Hour)); v != heads.Taken {
			t.Fatalf("verdict %v", v)
		}
		if err := b.Flush(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("the file: %v, %v", info.Mode(), err)
		}
		sizes = append(sizes, int(info.Size()))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := 0; size <= len(data); size += 7 {
		cut := filepath.Join(t.TempDir(), "cut")
		if err := os.WriteFile(cut, data[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		want := 0
		for _, whole := range sizes {
			if size >= whole {
				want++
			}
		}
		if got := len(open(t, cut).All()); got != want {
			t.Errorf("of %d bytes, %d heads are read, want %d", size, got, want)
		}
	}
}

// A damaged line is named, the others are good, and the file stays to be looked at.
func TestDamage(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "heads")
	text := fmt.Sprintf("%s\n%s\n%s\n", head(1, 0).Encode(), "{damaged", head(3, 25*time.Hour).Encode())
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b, damage, err := heads.Open(path)
	if err != nil || len(damage) != 1 || !strings.HasPrefix(damage[0], "line 2: ") {
		t.Fatalf("Open: %v, %q", err, damage)
	}
	defer b.Close()
	if got := len(b.All()); got != 2 {
		t.Errorf("%d heads", got)
	}
	if kept, err := os.ReadFile(path + ".damaged"); err != nil || string(kept) != text {
		t.Errorf("the damaged file was not kept: %v", err)
	}
	if b := open(t, path); len(b.All()) != 2 {
		t.Error("the file is damaged still")
	}
}

// One head a second for months costs a bounded file, and an old cut still shows.
func TestThinning(t *testing.T) {
	t.Parallel()
	b := open(t, "")
	const days = 500
	sequence := uint64(0)
	for at := time.Duration(0); at < days*24*time.Hour; at += 7 * time.Minute {
		sequence++
		b.Take(head(sequence, at))
	}
	all := b.All()
	if len(all) < 400 || len(all) > 400+48+60+1 {
		t.Errorf("%d heads are kept", len(all))
	}
	newest, found := b.Newest(cluster, "node-1")
	if !found || newest.Sequence != sequence || all[len(all)-1].Sequence != sequence {
		t.Errorf("the newest is %d, want %d", newest.Sequence, sequence)
	}
	if age := time.Duration(newest.At-all[0].At) * time.Millisecond; age < 398*24*time.Hour {
		t.Errorf("the oldest is of %v before", age)
	}
	for i := 1; i < len(all); i++ {
		if all[i].Sequence <= all[i-1].Sequence {
			t.Fatal("out of order")
		}
	}
}

// The file is written anew before it grows without end.
func TestFileIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "heads")
	b := open(t, path)
	line := len(head(1, 0).Encode()) + 10
	for i := range 40 {
		for j := range 100 { // of one flush
			b.Take(head(uint64(i*100+j+1), time.Duration(i*100+j)*time.Millisecond))
		}
		if err := b.Flush(); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() > int64(line*1000) {
			t.Fatalf("the file has %d bytes, %v", info.Size(), err)
		}
	}
	if got := open(t, path).All(); len(got) == 0 || got[len(got)-1].Sequence != 4000 {
		t.Errorf("%d heads are read", len(got))
	}
}

// A book that could not be written for a while is written whole when it can.
func TestFlushAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "heads")
	b := open(t, path)
	b.Take(head(1, 0))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	b.Take(head(2, 25*time.Hour))
	if err := b.Flush(); err == nil {
		t.Fatal("written nowhere")
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if err := b.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := open(t, path).All(); len(got) != 2 {
		t.Errorf("%d heads are read", len(got))
	}
}

// A stranger cannot fill the book with nodes.
func TestNodesAreBounded(t *testing.T) {
	t.Parallel()
	b := open(t, "")
	for i := range 300 {
		h := head(1, 0)
		h.Node, h.From = fmt.Sprint("node-", i), "keepgate://control-plane/acme/-/x"
		b.Take(h)
	}
	if got := len(b.All()); got != 256 {
		t.Errorf("%d nodes are held", got)
	}
}
