package listener

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/selfsigned"
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
		"a week":           {[][]byte{own}, "policy", 0, now.Add(7 * 24 * time.Hour), true},
		"more than a week": {[][]byte{own}, "policy", 0, now.Add(7*24*time.Hour + time.Second), false},
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
		if _, got := newTickets(test.life).good(&tls.SessionState{Extra: test.extra}, test.policy, test.at); got != test.good {
			t.Errorf("%s: %v, want %v", name, got, test.good)
		}
	}
}

// However often a client resumes: the time of a session runs from the handshake that proved the certificate.
func TestResumingDoesNotProlong(t *testing.T) {
	t.Parallel()
	cert, _, err := selfsigned.Load(t.TempDir(), "default")
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			v := &visitor{sealed: newTickets(time.Hour), cert: cert, version: version}
			if v.visit(t) {
				t.Error("resumed nothing")
			}
			since := v.age(t, 50*time.Minute)
			for range 3 {
				if !v.visit(t) {
					t.Error("not resumed in time")
				}
				if got := v.age(t, 0); !got.Equal(since) {
					t.Errorf("the next ticket goes back to %v, want %v", got, since)
				}
			}
			v.age(t, 11*time.Minute)
			if v.visit(t) {
				t.Error("resumed after its time")
			}
			if got := v.age(t, 0); time.Since(got) > 10*time.Minute {
				t.Errorf("a ticket of a new handshake goes back to %v", got)
			}
		})
	}
}

// visitor makes handshakes under one policy with the last session that it was given.
type visitor struct {
	sealed  *tickets
	cert    tls.Certificate
	version uint16
	session *tls.ClientSessionState
}

// Get implements tls.ClientSessionCache.
func (v *visitor) Get(string) (*tls.ClientSessionState, bool) { return v.session, v.session != nil }

// Put implements tls.ClientSessionCache.
func (v *visitor) Put(_ string, session *tls.ClientSessionState) { v.session = session }

// age makes the session older and says since when it is.
func (v *visitor) age(t *testing.T, by time.Duration) time.Time {
	t.Helper()
	ticket, state, err := v.session.ResumptionState()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := v.sealed.keys.DecryptTicket(ticket, tls.ConnectionState{})
	if err != nil || sealed == nil {
		t.Fatalf("the ticket does not open: %v", err)
	}
	made, _ := v.sealed.good(sealed, "policy", time.Now())
	made = made.Add(-by)
	sealed.Extra = [][]byte{ticketExtra("policy", made)}
	if ticket, err = v.sealed.keys.EncryptTicket(tls.ConnectionState{}, sealed); err != nil {
		t.Fatal(err)
	}
	if v.session, err = tls.NewResumptionState(ticket, state); err != nil {
		t.Fatal(err)
	}
	return made
}

// visit says whether the session was resumed.
func (v *visitor) visit(t *testing.T) bool {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{v.cert}, ClientAuth: tls.RequestClientCert}
	v.sealed.under("policy", config, true)
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		nc, err := l.Accept()
		if err == nil {
			_, err = nc.Write([]byte{1}) // behind the ticket
			_ = nc.Close()
		}
		served <- err
	}()
	client, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{
		InsecureSkipVerify: true, ServerName: "a.test", MaxVersion: v.version, ClientSessionCache: v, Certificates: []tls.Certificate{v.cert},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if n, err := client.Read(make([]byte, 1)); n != 1 { // the end may come with it
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	return client.ConnectionState().DidResume
}
