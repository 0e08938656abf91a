package jwt

import "strconv"

// number reads a number, RFC 8259 §6.
func (s *scanner) number() (float64, bool) {
	start := s.at
	s.take('-')
	if !s.take('0') && !s.digits() {
		return 0, false
	}
	if s.take('.') && !s.digits() {
		return 0, false
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		if !s.digits() {
			return 0, false
		}
	}
	n, err := strconv.ParseFloat(s.in[start:s.at], 64)
	return n, err == nil
}

func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.in) && '0' <= s.in[s.at] && s.in[s.at] <= '9' {
		s.at++
	}
	return s.at > start
}
