package keyring

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

const (
	contextRow  = "keyring row"
	contextHead = "keyring head"

	labelRow  = "keepgate keyring row 1"
	labelHead = "keepgate keyring head 1"

	maxSequence  = 1 << 62 // a head that claims more is malformed: there must be a next one
	maxUnproven  = 1 << 53 // a head that nobody proved cannot use the numbers up
	maxHeadBytes = 256 << 10
	maxMemory    = 4096
)

// Prover proves that this control plane wrote something. A proof counts in its context alone.
type Prover interface {
	Prove(context string, message []byte) (proof []byte, err error)
	// Check fails with fault.Unavailable when it cannot tell, and otherwise says why the proof does not count.
	Check(context string, message, proof []byte) error
}

// Renewer is a Prover whose proofs may come of age: they count, and had better be made anew.
type Renewer interface {
	Stale(context string, message, proof []byte) bool
}

// Judge is a Prover who may think otherwise of a proof than before, as when an authority is believed no more: what this node knows and nobody
// else would believe is to be proven anew before this node is gone.
type Judge interface {
	Changed() <-chan struct{} // closed when it may; ask for it before Check
}

// head is the stored form, frozen by testdata/head.golden:
//
//	{"sequence":7,"active":"LaW1urRQ","at":1790000000000,"proof":"<base64>"}
type head struct {
	Sequence uint64 `json:"sequence"` // counts the changes of the ring, from 1
	Active   string `json:"active"`   // id of the active key
	At       int64  `json:"at"`       // Unix milliseconds, by the clock of the node that wrote it
	Proof    []byte `json:"proof"`
}

func parseHead(text string) (h head, err error) {
	if len(text) > maxHeadBytes {
		return h, errors.New("the stored head is malformed: too long")
	}
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return head{}, errors.New("the stored head is malformed: no JSON of its form")
	}
	if h.Sequence == 0 || h.Sequence > maxSequence || !aead.IsKeyID(h.Active) {
		return head{}, errors.New("the stored head is malformed: no such number or key id")
	}
	return h, nil
}

// message is what a head's proof covers.
func (h head) message(cluster, ring string) []byte {
	return aead.Associated(labelHead, cluster, ring, strconv.FormatUint(h.Sequence, 10), h.Active, strconv.FormatInt(h.At, 10))
}

// rowMessage is what a row's proof covers: the ring and all fields but the proof.
func rowMessage(cluster, ring string, row record.Key) []byte {
	return aead.Associated(labelRow, cluster, ring, row.ID, row.State, strconv.FormatInt(row.CreatedAt, 10), strconv.FormatInt(row.ActivatedAt, 10),
		string(row.Check), string(row.Recovery), string(row.Wrapped))
}

// prove makes a proof and sees that it counts, so that no node writes what it would itself refuse.
func (r *Ring) prove(context string, message []byte) ([]byte, error) {
	proof, err := r.prover.Prove(context, message)
	if err != nil {
		return nil, fmt.Errorf("proving a change of the keyring: %w", err)
	}
	if err := r.check(context, message, proof).err; err != nil {
		return nil, fault.Newf(fault.Unavailable, "keyring.prove", "keyring", "this node's own proof would be refused: %w", err)
	}
	return proof, nil
}

func (r *Ring) proveRow(row record.Key) (record.Key, error) {
	var err error
	row.Signature, err = r.prove(contextRow, rowMessage(r.options.Cluster, r.options.Ring, row))
	return row, err
}

func (r *Ring) proveHead(h head) (text string, err error) {
	if h.Proof, err = r.prove(contextHead, h.message(r.options.Cluster, r.options.Ring)); err != nil {
		return "", err
	}
	encoded, err := json.Marshal(h)
	return string(encoded), err
}

// verdict on one proof.
type verdict struct {
	err   error
	stale bool
}

// proofMemory spares checking the same proof at every poll. It is emptied now and then, since signers
// are revoked.
type proofMemory map[[sha256.Size]byte]verdict

// check is called with r.mu held, or before others have r.
func (r *Ring) check(context string, message, proof []byte) verdict {
	sum := sha256.Sum256(aead.Associated(context, string(message), string(proof)))
	if known, ok := r.memory[sum]; ok {
		return known
	}
	v := judgeProof(r.prover, context, message, proof)
	if fault.KindOf(v.err) == fault.Unavailable && v.err != nil { // asked again
		return v
	}
	if len(r.memory) >= maxMemory {
		clear(r.memory)
	}
	r.memory[sum] = v
	return v
}

func judgeProof(prover Prover, context string, message, proof []byte) verdict {
	if _, all := prover.(unchecked); len(proof) == 0 && !all {
		return verdict{err: errors.New("it carries no proof of who wrote it")}
	}
	if err := prover.Check(context, message, proof); err != nil {
		return verdict{err: err}
	}
	renewer, ok := prover.(Renewer)
	return verdict{stale: ok && renewer.Stale(context, message, proof)}
}
