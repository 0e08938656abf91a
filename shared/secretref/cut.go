package secretref

import (
	"iter"
	"strings"
)

// Part is a piece of a text: literal, a reference, or what was meant as one and is wrong.
type Part struct {
	Text      string    // as it stands
	Reference Reference // of a reference; its Scheme is "" otherwise
	Err       error     // why Text, which begins as a reference, is none
}

// IsReference says whether the part is a reference.
func (p Part) IsReference() bool { return p.Reference.Scheme != "" }

// Cut divides a text into what is literal and the references in it, in order. Together the parts are the text.
func Cut(text string) iter.Seq[Part] {
	return func(yield func(Part) bool) {
		for text != "" {
			at := opening(text)
			if at > 0 {
				if !yield(Part{Text: text[:at]}) {
					return
				}
				text = text[at:]
				continue
			}
			if at < 0 {
				yield(Part{Text: text})
				return
			}
			end := strings.IndexByte(text, '}') + 1
			if end == 0 {
				end = len(text)
			}
			part := Part{Text: text[:end]}
			part.Reference, part.Err = Parse(part.Text)
			if !yield(part) {
				return
			}
			text = text[end:]
		}
	}
}

// opening is where the first reference begins, -1 when there is none. It looks no further: a text may hold many.
func opening(text string) int {
	for at := 0; ; at++ {
		next := strings.IndexByte(text[at:], '{')
		if next < 0 {
			return -1
		}
		if at += next; Meant(text[at:]) {
			return at
		}
	}
}
