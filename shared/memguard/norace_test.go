//go:build !race

package memguard_test

const raceEnabled = false
