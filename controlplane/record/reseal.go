package record

// Resealed is a row whose secrets were sealed anew: the same values in other texts.
type Resealed struct {
	ID         string
	Generation uint64            // that must be stored still; it does not rise
	Sealed     map[string]string // every sealed column that changes, by field
	Body       []byte            // nil: it stays as it is
	// Under names the keys of the new values in Body, which may hold others that do not open and stay as they are;
	// nil: all of them are new.
	Under []string
}
