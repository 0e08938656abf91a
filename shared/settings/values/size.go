package values

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes in nginx's form: 512, 8k, 16m, 1g. In most settings 0 means no limit.
type Size int64

// UnmarshalText reads the size.
func (s *Size) UnmarshalText(text []byte) error {
	digits, shift := strings.ToLower(string(text)), 0
	for suffix, bits := range map[string]int{"k": 10, "m": 20, "g": 30} {
		if rest, found := strings.CutSuffix(digits, suffix); found {
			digits, shift = rest, bits
			break
		}
	}
	number, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return fmt.Errorf("sizes are a number with an optional k, m or g")
	}
	if number > math.MaxInt64>>shift {
		return fmt.Errorf("the size is too large")
	}
	*s = Size(number << shift)
	return nil
}

// String writes the size in the largest unit that keeps it whole.
func (s Size) String() string {
	for _, unit := range []struct {
		bits int
		name string
	}{{30, "g"}, {20, "m"}, {10, "k"}} {
		if s != 0 && s%(1<<unit.bits) == 0 {
			return strconv.FormatInt(int64(s)>>unit.bits, 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
