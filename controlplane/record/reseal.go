package record

// Resealed is a row whose secrets were sealed anew: the same values in other texts.
type Resealed struct {
	ID         string
	Generation uint64            // that must be stored still; it does not rise
	Sealed     map[string]string // every sealed column that changes, by field
	Body       []byte            // nil: it stays as it is
}
