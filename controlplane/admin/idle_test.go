package admin

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestIdleSaysHowLongNobodyWaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &Server{counts: counts{begun: time.Now()}}
		expect := func(when string, want time.Duration) {
			t.Helper()
			if got := s.Idle(); got != want {
				t.Errorf("%s: idle for %v, want %v", when, got, want)
			}
		}
		time.Sleep(time.Minute)
		expect("before any request", time.Minute)
		first, second := s.counts.serve(), s.counts.serve()
		time.Sleep(time.Second)
		first()
		expect("with one of two answered", 0)
		second()
		expect("at the moment of the last answer", 1)
		time.Sleep(time.Second)
		expect("a second after", time.Second)
	})
}
