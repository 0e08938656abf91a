package exchange

import "sync"

// Pool keeps exchanges for reuse. The zero value is ready; each engine has its own.
type Pool struct{ idle sync.Pool }

// Take returns an exchange as new.
func (p *Pool) Take() *Exchange {
	if ex, ok := p.idle.Get().(*Exchange); ok {
		return ex
	}
	ex := new(Exchange)
	ex.Reset()
	return ex
}

// Give resets ex and keeps it. Every view of it is dead from here on.
func (p *Pool) Give(ex *Exchange) {
	ex.Reset()
	p.idle.Put(ex)
}
