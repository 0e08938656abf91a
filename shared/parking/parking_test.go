package parking_test

import (
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/parking"
)

const patience = 30 * time.Second

// guest is a socket that counts its wakings.
type guest struct {
	parking.Place
	nc     *net.TCPConn
	client net.Conn
	woken  chan struct{}
}

func (g *guest) Wake() { g.woken <- struct{}{} }

func (g *guest) raw(t testing.TB) syscall.RawConn {
	t.Helper()
	raw, err := g.nc.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (g *guest) await(t testing.TB) {
	t.Helper()
	select {
	case <-g.woken:
	case <-time.After(patience):
		t.Fatal("nobody was woken")
	}
}

func (g *guest) sleeps(t testing.TB) {
	t.Helper()
	select {
	case <-g.woken:
		t.Fatal("woken without a reason")
	default:
	}
}

func arrive(t testing.TB) *guest {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return &guest{nc: server.(*net.TCPConn), client: client, woken: make(chan struct{}, 8)}
}

func park(t testing.TB, l *parking.Lot, g *guest) {
	t.Helper()
	if err := l.Park(g.raw(t), &g.Place, g); err != nil {
		t.Fatal(err)
	}
}

// What wakes, each of it once.
func TestWakes(t *testing.T) {
	t.Parallel()
	say := func(g *guest) { _, _ = g.client.Write([]byte("x")) }
	tests := map[string]struct {
		before, after func(l *parking.Lot, g *guest)
	}{
		"a byte":                  {after: func(_ *parking.Lot, g *guest) { say(g) }},
		"a byte that was there":   {before: func(_ *parking.Lot, g *guest) { say(g) }},
		"the end":                 {after: func(_ *parking.Lot, g *guest) { _ = g.client.Close() }},
		"half an end":             {after: func(_ *parking.Lot, g *guest) { _ = g.client.(*net.TCPConn).CloseWrite() }},
		"a reset":                 {after: func(_ *parking.Lot, g *guest) { _, _ = g.client.(*net.TCPConn).SetLinger(0), g.client.Close() }},
		"our own shutdown":        {after: func(_ *parking.Lot, g *guest) { _ = g.nc.CloseRead() }},
		"somebody":                {after: func(l *parking.Lot, g *guest) { l.Wake(&g.Place) }},
		"somebody, twice":         {after: func(l *parking.Lot, g *guest) { l.Wake(&g.Place); l.Wake(&g.Place) }},
		"a close, and being told": {after: func(l *parking.Lot, g *guest) { _ = g.nc.Close(); l.Wake(&g.Place) }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var lot parking.Lot
			g, other := arrive(t), arrive(t)
			park(t, &lot, other)
			if test.before != nil {
				test.before(&lot, g)
			}
			park(t, &lot, g)
			if test.after != nil {
				g.sleeps(t)
				test.after(&lot, g)
			}
			g.await(t)
			lot.Wake(&g.Place)
			other.sleeps(t)
			if n := lot.Guests(); n != 1 {
				t.Errorf("%d guests are left", n)
			}
			lot.Wake(&other.Place)
			other.await(t)
			if n := lot.Guests(); n != 0 {
				t.Errorf("%d guests are left of none", n)
			}
			say(other)
			other.sleeps(t)
			g.sleeps(t)
		})
	}
}

// Who leaves is not woken, be they spoken to, and may come again.
func TestLeave(t *testing.T) {
	t.Parallel()
	var lot parking.Lot
	g := arrive(t)
	park(t, &lot, g)
	lot.Leave(&g.Place)
	lot.Leave(&g.Place)
	if n := lot.Guests(); n != 0 {
		t.Errorf("%d guests are left of none", n)
	}
	_, _ = g.client.Write([]byte("x"))
	lot.Wake(&g.Place)
	g.sleeps(t)
	park(t, &lot, g)
	g.await(t)
}

// A guest comes again, whether it was spoken to or woken, and the lot was empty in between or not.
func TestParkAgain(t *testing.T) {
	t.Parallel()
	for name, alone := range map[string]bool{"alone": true, "beside another": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var lot parking.Lot
			if !alone {
				park(t, &lot, arrive(t))
			}
			g := arrive(t)
			one := make([]byte, 1)
			for i := range 20 {
				park(t, &lot, g)
				if err := lot.Park(g.raw(t), &g.Place, g); err == nil {
					t.Fatal("parked twice")
				}
				if i%2 == 0 {
					lot.Wake(&g.Place)
					g.await(t)
					continue
				}
				g.sleeps(t)
				_, _ = g.client.Write(one)
				g.await(t)
				if n, err := g.nc.Read(one); n != 1 || err != nil {
					t.Fatal(n, err)
				}
			}
		})
	}
}

// A socket that is closed cannot be parked, and leaves nothing behind.
func TestParkClosed(t *testing.T) {
	t.Parallel()
	var lot parking.Lot
	g := arrive(t)
	raw := g.raw(t)
	_ = g.nc.Close()
	if err := lot.Park(raw, &g.Place, g); err == nil || lot.Guests() != 0 {
		t.Errorf("%v, %d guests", err, lot.Guests())
	}
	lot.Wake(&g.Place)
	g.sleeps(t)
}

// Many come, are spoken to and woken at the same time: nobody is forgotten, and nobody is woken twice.
func TestCrowd(t *testing.T) {
	t.Parallel()
	const guests, turns = 100, 20
	var lot parking.Lot
	var all sync.WaitGroup
	for i := range guests {
		g := arrive(t)
		all.Go(func() {
			one := make([]byte, 1)
			for turn := range turns {
				if err := lot.Park(g.raw(t), &g.Place, g); err != nil {
					t.Error(err)
					return
				}
				if (i+turn)%3 == 0 {
					go lot.Wake(&g.Place)
				}
				_, _ = g.client.Write(one)
				select {
				case <-g.woken:
				case <-time.After(patience):
					t.Error("forgotten")
					return
				}
				if _, err := g.nc.Read(one); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := lot.Guests(); n != 0 {
		t.Errorf("%d guests are left", n)
	}
}

// BenchmarkWake is what waking costs beside a goroutine that waits itself: parking, the lot's word and a new goroutine.
func BenchmarkWake(b *testing.B) {
	one := make([]byte, 1)
	b.Run("parked", func(b *testing.B) {
		var lot parking.Lot
		g, other := arrive(b), arrive(b)
		park(b, &lot, other) // the lot is not empty in between
		defer lot.Wake(&other.Place)
		for b.Loop() {
			park(b, &lot, g)
			_, _ = g.client.Write(one)
			<-g.woken
			_, _ = g.nc.Read(one)
		}
	})
	b.Run("waiting", func(b *testing.B) {
		g := arrive(b)
		go func() {
			in := make([]byte, 1)
			for {
				if _, err := g.nc.Read(in); err != nil {
					return
				}
				g.woken <- struct{}{}
			}
		}()
		for b.Loop() {
			_, _ = g.client.Write(one)
			<-g.woken
		}
	})
}
