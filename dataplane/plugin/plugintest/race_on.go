//go:build race

package plugintest

// poisoned: dead arenas are overwritten. The race detector also makes pools forget, so that allocations mean nothing.
const poisoned = true
