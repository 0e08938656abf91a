//go:build race

package exchange

// poison overwrites arenas at release, so that views kept too long show up in tests.
const poison = true
