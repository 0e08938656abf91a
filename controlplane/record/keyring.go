package record

// KeyUsable is the state of a key that values may be written under. All other states are the keyring's affair.
const KeyUsable = "usable"

// Key is one row of a keyring. What the byte fields hold is the keyring's affair; the store keeps them
// as they are. An empty field and an absent one are the same.
type Key struct {
	ID          string
	State       string
	CreatedAt   int64 // Unix seconds
	ActivatedAt int64 // Unix seconds; 0: never
	Check       []byte
	Recovery    []byte // material wrapped for the recovery key
	Wrapped     []byte // material wrapped by the strategy
	Signature   []byte // proof of who wrote the row
}

// Keyring is all that a database holds of one ring, in one consistent read.
type Keyring struct {
	// Head is the ring's own text: which key is active, and the number of the last change. nil before the
	// first key.
	Head *string
	Keys []Key // every key there ever was, by creation and then id
}

// SealedCount says how many rows of a table hold a value under a key.
type SealedCount struct {
	Table string
	Key   string // the mark, see [MarkOf]; "": the row's encrypted column holds a text that is not sealed
	Rows  int
}
