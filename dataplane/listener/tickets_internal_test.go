package listener

import (
	"crypto/tls"
	"testing"
	"time"
)

func TestTicketsThatAreGood(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	own := ticketExtra("policy", now)
	for name, test := range map[string]struct {
		extra  [][]byte
		policy string
		life   time.Duration
		at     time.Time
		good   bool
	}{
		"at once":          {[][]byte{own}, "policy", time.Hour, now, true},
		"in time":          {[][]byte{own}, "policy", time.Hour, now.Add(time.Hour), true},
		"too late":         {[][]byte{own}, "policy", time.Hour, now.Add(time.Hour + time.Second), false},
		"without a limit":  {[][]byte{own}, "policy", 0, now.Add(1000 * time.Hour), true},
		"another policy":   {[][]byte{own}, "polic", time.Hour, now, false},
		"no policy":        {[][]byte{own}, "", time.Hour, now, false},
		"of no policy":     {[][]byte{ticketExtra("", now)}, "", time.Hour, now, true},
		"of none, for one": {[][]byte{ticketExtra("", now)}, "policy", time.Hour, now, false},
		"nothing":          {nil, "", time.Hour, now, false},
		"empty":            {[][]byte{{}}, "", time.Hour, now, false},
		"cut":              {[][]byte{own[:len(ticketMark)+7]}, "", time.Hour, now, false},
		"twice":            {[][]byte{own, own}, "policy", time.Hour, now, false},
		"somebody else's":  {[][]byte{[]byte("keepgate/2xxxxxxxxpolicy")}, "policy", time.Hour, now, false},
	} {
		if got := newTickets(test.life).good(&tls.SessionState{Extra: test.extra}, test.policy, test.at); got != test.good {
			t.Errorf("%s: %v, want %v", name, got, test.good)
		}
	}
}
