package values

import "fmt"

// Switch is on, off, or left to what its owner takes for safe: a setting whose default is not the same wherever it is used.
type Switch struct{ word string }

// UnmarshalText reads a word as it reads that of any setting that is on or off.
func (s *Switch) UnmarshalText(text []byte) error {
	switch word := string(text); word {
	case "on", "true":
		s.word = "on"
	case "off", "false":
		s.word = "off"
	case "":
		s.word = ""
	default:
		return fmt.Errorf("write on or off")
	}
	return nil
}

// String is on, off or empty.
func (s Switch) String() string { return s.word }

// Given says whether somebody has said on or off.
func (s Switch) Given() bool { return s.word != "" }

// Or is what was said, or fallback.
func (s Switch) Or(fallback bool) bool {
	if s.word == "" {
		return fallback
	}
	return s.word == "on"
}
