//go:build !race

package exchange

// poison is off: see poison_on.go.
const poison = false
