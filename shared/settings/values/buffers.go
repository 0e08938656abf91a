package values

import (
	"fmt"
	"strconv"
	"strings"
)

// Buffers bound a request's head, in nginx's form: "4 8k" allows lines of 8 KiB, and four times as much for all.
type Buffers struct {
	Number int
	Size   Size
}

// UnmarshalText reads number and size.
func (b *Buffers) UnmarshalText(text []byte) error {
	const most = 64 << 10 // what engines hold in one piece
	words := strings.Fields(string(text))
	if len(words) != 2 {
		return fmt.Errorf("write a number and a size, as 4 8k")
	}
	number, err := strconv.Atoi(words[0])
	if err != nil || number < 1 || number > most {
		return fmt.Errorf("%q is no number of buffers", words[0])
	}
	var size Size
	if err := size.UnmarshalText([]byte(words[1])); err != nil {
		return err
	}
	if size < 1<<10 || int64(size) > most/int64(number) {
		return fmt.Errorf("a buffer has 1k or more, and all together 64k or less")
	}
	*b = Buffers{number, size}
	return nil
}

// String writes them as they can be read again.
func (b Buffers) String() string { return strconv.Itoa(b.Number) + " " + b.Size.String() }
