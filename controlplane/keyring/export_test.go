package keyring

import "github.com/keepgate/keepgate/controlplane/record"

// RowMessage and HeadMessage are what proofs cover.
func RowMessage(cluster string, row record.Key) []byte { return rowMessage(cluster, row) }

func HeadMessage(cluster string, sequence uint64, active string, at int64) []byte {
	return head{Sequence: sequence, Active: active, At: at}.message(cluster)
}

// Sign makes what is stored of a row and of a head, as whoever has the prover could.
func Sign(prover Prover, cluster string, row record.Key) record.Key {
	row.Signature, _ = prover.Prove(contextRow, rowMessage(cluster, row))
	return row
}

func SignHead(prover Prover, cluster string, sequence uint64, active string, at int64) string {
	r := &Ring{prover: prover, options: Options{Cluster: cluster}, memory: proofMemory{}}
	text, err := r.proveHead(head{Sequence: sequence, Active: active, At: at})
	if err != nil {
		panic(err)
	}
	return text
}

// ParseHead is for the fuzz test.
func ParseHead(text string) (sequence uint64, active string, at int64, err error) {
	h, err := parseHead(text)
	return h.Sequence, h.Active, h.At, err
}
