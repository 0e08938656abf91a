package localstore

import (
	"bytes"
	"os"
	"testing"

	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/secret"
)

// FuzzSnapshot and FuzzJournal read files of any content. In mode off anyone can make them.
func FuzzSnapshot(f *testing.F) {
	for _, mode := range modeCodes {
		f.Add(golden(f, "testdata/golden/"+string(mode)+"/"+snapshotName(1)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := readSnapshot(bytes.NewReader(data), Options{Mode: Off, Node: "golden/golden/dp-1"})
		if err == nil && int(s.size) != len(data) {
			t.Fatalf("%d bytes of %d were read", s.size, len(data))
		}
	})
}

func FuzzJournal(f *testing.F) {
	for _, mode := range modeCodes {
		f.Add(golden(f, "testdata/golden/"+string(mode)+"/"+journalName(1)))
	}
	options := Options{Mode: Off, Node: "golden/golden/dp-1"}
	f.Fuzz(func(t *testing.T, data []byte) {
		changes := 0
		j, err := readJournal(data, options, func(journalHeader) error { return nil }, func(Change) { changes++ })
		if err == nil && (changes != j.frames || j.damage == nil && j.writer.size+j.torn != int64(len(data))) {
			t.Fatalf("%d changes in %d frames, %d bytes and %d torn of %d", changes, j.frames, j.writer.size, j.torn, len(data))
		}
	})
}

func golden(f *testing.F, path string) []byte {
	f.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	return data
}

// FuzzParts reaches the parsers behind the checksums, which a mutated file does not get past.
func FuzzParts(f *testing.F) {
	options := Options{Mode: Off}
	j, header := newJournal(options, 1, fileID{1})
	change := Change{Version: 1, Puts: []Entry{{Kind: "k", ID: "i", Bytes: []byte("b")}}, Deletes: []Ref{{"k", "j"}}}
	frame, _, err := j.frame(change)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(header[magicSize+4 : len(header)-32])
	f.Add(frame[frameHead:])
	f.Add(frame)
	f.Add(encodeControl(change, nil))
	f.Add(appendEntry(nil, change.Puts[0]))
	f.Add(snapshotHeader{mode: Off, sections: []sectionHeader{{}}}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if h, err := decodeSnapshotHeader(data); err == nil && !bytes.Equal(h.encode(), data) {
			t.Fatalf("snapshot header %x is not canonical", data)
		}
		if h, err := decodeJournalHeader(data); err == nil && !bytes.Equal(h.encode(), data) {
			t.Fatalf("journal header %x is not canonical", data)
		}
		splitFrame(data, 0)
		decodeControl(data, nil)
		replayed := &journal{header: journalHeader{mode: Off}, writer: &journalWriter{options: options}}
		replayed.decode(data)
		unpack(data)
		r := newEntryReader(bytes.NewReader(data), controlSection, smallRead)
		for {
			if _, err := r.next(); err != nil {
				break
			}
		}
	})
}

// FuzzRememberedKeys reads a file of keys of any content, and what may stand behind its seal.
func FuzzRememberedKeys(f *testing.F) {
	own, err := localkeys.New(secret.Take(make([]byte, 32)))
	if err != nil {
		f.Fatal(err)
	}
	s := &Store{options: Options{Mode: AES256GCM, Holder: fixed{own}, Node: "golden/golden/dp-1"}}
	list := []Remembered{{ID: "0123456789abcdef", Material: secret.Take([]byte("0123456789abcdef"))}, {ID: "fedcba9876543210", Wrapped: "vault:v1:AAAA"}}
	content, err := s.sealKeys(list)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add(golden(f, "testdata/keys.golden"))
	f.Add([]byte("\x01a\x00\x01k"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if opened, err := openKeys(data, own, s.boundKeys); err == nil && !bytes.Equal(data, content) && len(opened) == 0 {
			t.Errorf("%d keys of a file that nobody wrote", len(opened))
		}
		if list, err := decodeKeys(data); err == nil && len(data) > 0 && len(list) == 0 {
			t.Error("bytes, and no keys")
		}
	})
}

type fixed struct{ own *localkeys.Ring }

func (f fixed) Own() Keys { return f.own }

func (f fixed) Ring([]Remembered) (Keys, []Remembered, error) { return f.own, nil, nil }

func TestGoldenRememberedKeys(t *testing.T) {
	t.Parallel()
	own, err := localkeys.New(secret.Take(bytes.Repeat([]byte{0x42}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{options: Options{Mode: AES256GCM, Holder: fixed{own}, Node: "golden/golden/dp-1"}}
	want := []Remembered{{ID: "0123456789abcdef", Material: secret.Take([]byte("0123456789abcdef"))}, {ID: "fedcba9876543210", Wrapped: "vault:v1:AAAA"}}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		content, err := s.sealKeys(want)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("testdata/keys.golden", content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile("testdata/keys.golden")
	if err != nil {
		t.Fatal(err)
	}
	got, err := openKeys(data, own, s.boundKeys)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d keys, %v", len(got), err)
	}
	for i := range got {
		if got[i].ID != want[i].ID || got[i].Wrapped != want[i].Wrapped || !got[i].Material.Equal(want[i].Material) {
			t.Errorf("key %d is another", i)
		}
	}
}
