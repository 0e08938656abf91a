package wire

import "bytes"

// Limits bound a head.
type Limits struct {
	LineBytes int // the first line
	HeadBytes int // the whole head, first line and final empty line included
	Fields    int
}

// Scanner finds the end of a head that arrives in pieces, looking at each byte once. It refuses
// what can be refused before the end: bare LF, oversize, too many lines. The zero value is ready for a new head.
type Scanner struct {
	line  int // where the current line begins
	lines int // complete lines so far
	seen  int // bytes looked at
}

// Scan looks at b, which begins with the head and is at least as long as in the call before. It returns the
// length of the head, its final empty line included, or 0 when b does not hold all of it yet.
func (s *Scanner) Scan(b []byte, limits *Limits) (int, error) {
	for {
		i := bytes.IndexByte(b[s.seen:], '\n')
		if i < 0 {
			s.seen = len(b)
			return 0, s.over(len(b), limits)
		}
		end := s.seen + i // of the line, at its LF
		if end == s.line || b[end-1] != '\r' {
			return 0, BareLF
		}
		empty := end-1 == s.line
		s.seen, s.line = end+1, end+1
		if empty && s.lines > 0 {
			if err := s.over(end+1, limits); err != nil {
				return 0, err
			}
			return end + 1, nil
		}
		if empty {
			return 0, BadRequestLine
		}
		s.lines++
		if s.lines == 1 && end-1 > limits.LineBytes {
			return 0, TargetTooLong
		}
		if s.lines > limits.Fields+1 {
			return 0, TooManyFields
		}
	}
}

func (s *Scanner) over(n int, limits *Limits) error {
	switch {
	case s.lines == 0 && n > limits.LineBytes:
		return TargetTooLong
	case n > limits.HeadBytes:
		return HeadTooLarge
	}
	return nil
}
