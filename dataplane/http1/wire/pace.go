package wire

import "time"

// MinBodyRate is how many bytes of a body must come a second where nobody said otherwise.
const MinBodyRate = 240

// Pace is how much longer a client may keep the gateway waiting for a body. Every wait uses it up and every byte that
// comes earns some of it back, never more than it began with: so a client that only drips does not last, and one that
// waits for the gateway loses nothing.
type Pace struct {
	left, most time.Duration
	rate       int
}

// Begin allows for most at first, and earns rate bytes back a second. Without a rate Left stays what it is.
func (p *Pace) Begin(most time.Duration, rate int) { *p = Pace{left: most, most: most, rate: rate} }

// Left is how long the next wait may be; it may be zero or less.
func (p *Pace) Left() time.Duration { return p.left }

// Took notes a wait and the bytes that came.
func (p *Pace) Took(wait time.Duration, n int) {
	if p.rate > 0 {
		p.left = min(p.most, p.left-wait+time.Duration(n)*time.Second/time.Duration(p.rate))
	}
}

// On says whether the pace matters.
func (p *Pace) On() bool { return p.rate > 0 }
