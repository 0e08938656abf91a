package proxy

// Captures implements [plugin.Captured] for the state in the exchange.
func (s *state) Captures(path string, visit func(number int, name, value string)) {
	s.match.Captures(path, visit)
}
