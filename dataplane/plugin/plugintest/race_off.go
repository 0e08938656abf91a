//go:build !race

package plugintest

// poisoned: see race_on.go.
const poisoned = false
