// Package heads keeps what the ends of journals were, apart from the database that holds the journals.
//
// A chain of hashes shows an entry that was changed in the middle, but not one that was cut off at the end, nor
// a chain that was computed anew from some place on. A [Head] says what the newest entry of a node's journal
// was at a moment; nodes sign theirs, give them to each other, and every node keeps those of all in a file of
// its own ([Book]). Whoever writes the database reaches neither the files nor the keys that sign.
//
// Who makes heads and holds the journal against them is controlplane/audit.
//
// # Format, version 1
//
// A head is one JSON object in one line with these members in this order, and no other spelling is read:
//
//	{"v":1,"cluster":"…","node":"…","sequence":80,"hash":"<64 hex>","at":1700000000000,"proof":"<base64>"}
//
// "proof" is left out of a head that nobody signed. What is signed, in the context [Context], is
// [Head.Message]. A line of the file may have two members more: "from" (the identity that was heard saying
// it) and "conflict":true (it contradicts another one that is held).
package heads

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// Context is what proofs of heads are made for.
const Context = "audit-head"

const (
	version  = 1
	hashSize = 32
	maxName  = 64
	maxFrom  = 256
	maxProof = 32 << 10
	// MaxBytes is more than any head takes.
	MaxBytes = 2*maxProof + 1024

	messageLabel = "keepgate/audit/head/v1"
)

// Head says which entry was the newest of a node's journal.
type Head struct {
	Cluster  string // id of the database
	Node     string // id of the node whose journal it is
	Sequence uint64 // of the entry
	Hash     []byte // of the entry
	At       int64  // when the head was made, Unix milliseconds by the node's clock
	Proof    []byte // by the node's peer certificate; empty: unsigned
}

// Held is a head as a book holds it.
type Held struct {
	Head
	From     string // the identity that was heard saying it; "" for the node's own
	Conflict bool   // it contradicts what was held before
}

// line is both forms in JSON.
type line struct {
	Version  int    `json:"v"`
	Cluster  string `json:"cluster"`
	Node     string `json:"node"`
	Sequence uint64 `json:"sequence"`
	Hash     string `json:"hash"`
	At       int64  `json:"at"`
	Proof    []byte `json:"proof,omitempty"`
	From     string `json:"from,omitempty"`
	Conflict bool   `json:"conflict,omitempty"`
}

// Message is what a proof of the head signs: a label, then every field, each text after its length.
func (h Head) Message() []byte {
	message := append([]byte(messageLabel), 0)
	for _, part := range []string{h.Cluster, h.Node, string(h.Hash)} {
		message = binary.BigEndian.AppendUint64(message, uint64(len(part)))
		message = append(message, part...)
	}
	message = binary.BigEndian.AppendUint64(message, h.Sequence)
	return binary.BigEndian.AppendUint64(message, uint64(h.At))
}

// Encode writes the head, without a line end.
func (h Head) Encode() []byte { return Held{Head: h}.Encode() }

// Encode writes the head as a line of the file, without its end.
func (h Held) Encode() []byte {
	text, err := json.Marshal(line{
		version, h.Cluster, h.Node, h.Sequence, hex.EncodeToString(h.Hash), h.At, h.Proof, h.From, h.Conflict,
	})
	if err != nil { // of texts and numbers alone: cannot be
		return nil
	}
	return text
}

// Parse reads a head as peers send it.
func Parse(data []byte) (Head, error) {
	held, err := ParseHeld(data)
	if err != nil {
		return Head{}, err
	}
	if held.From != "" || held.Conflict {
		return Head{}, errors.New("a head has members of the file's lines")
	}
	return held.Head, nil
}

// ParseHeld reads one line of the file. What it accepts, Encode gives back unchanged.
func ParseHeld(data []byte) (Held, error) {
	if len(data) > MaxBytes {
		return Held{}, fmt.Errorf("a head is longer than %d bytes", MaxBytes)
	}
	var l line
	if err := json.Unmarshal(data, &l); err != nil {
		return Held{}, fmt.Errorf("a head is no JSON of this form: %w", err)
	}
	if l.Version != version {
		return Held{}, fmt.Errorf("a head is of version %d, this program knows version %d", l.Version, version)
	}
	hash, err := hex.DecodeString(l.Hash)
	if err != nil || len(hash) != hashSize {
		return Held{}, fmt.Errorf("a head has no hash of %d bytes", hashSize)
	}
	h := Held{Head{l.Cluster, l.Node, l.Sequence, hash, l.At, l.Proof}, l.From, l.Conflict}
	if err := h.validate(); err != nil {
		return Held{}, err
	}
	if !bytes.Equal(h.Encode(), data) {
		return Held{}, errors.New("a head is not spelled as heads are")
	}
	return h, nil
}

func (h Held) validate() error {
	switch {
	case !isName(h.Cluster), !isName(h.Node):
		return errors.New("a head has no proper cluster and node")
	case h.Sequence == 0 || h.At <= 0:
		return errors.New("a head has no sequence or no time")
	case len(h.Proof) > maxProof || len(h.From) > maxFrom:
		return errors.New("a head's proof is too long")
	}
	return nil
}

// isName reports whether a text can be an id.
func isName(text string) bool {
	for i := range len(text) {
		c := text[i]
		if c != '-' && c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return text != "" && len(text) <= maxName
}
