package balancer

import (
	"cmp"
	"slices"
)

// maxRing bounds a ring's length. Weights that need more are scaled down; none falls below 1.
const maxRing = 1 << 16

// interleave returns indexes of weights, each as often as its weight over their common divisor says and
// spread as evenly as whole places allow.
func interleave(weights []int) []uint16 {
	divisor, total := 0, 0
	for _, w := range weights {
		divisor = gcd(divisor, w)
		total += w
	}
	if total == 0 {
		return nil
	}
	total /= divisor
	type place struct {
		at    float64
		index uint16
	}
	var places []place
	for i, w := range weights {
		w /= divisor
		if total > maxRing && w > 0 {
			w = max(1, w*maxRing/total)
		}
		for k := range w {
			places = append(places, place{(float64(k) + 0.5) / float64(w), uint16(i)})
		}
	}
	slices.SortStableFunc(places, func(a, b place) int { return cmp.Compare(a.at, b.at) })
	ring := make([]uint16, len(places))
	for i, p := range places {
		ring[i] = p.index
	}
	return ring
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
