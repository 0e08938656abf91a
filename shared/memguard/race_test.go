//go:build race

package memguard_test

const raceEnabled = true
