//go:build race

package proxy_test

// raceEnabled: the race detector makes pools forget on purpose, so allocations mean nothing.
const raceEnabled = true
