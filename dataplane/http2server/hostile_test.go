package http2server_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/keepgate/keepgate/dataplane/http2server"
)

// flood says the same over and over until the server has had enough, and returns its last word.
func flood(r *raw, say func(i uint32)) string {
	words := make(chan string, 1)
	go func() {
		last := ""
		for {
			word := r.next()
			if word == "closed" || word == "silence" {
				words <- last
				return
			}
			last = word
		}
	}()
	for i := range uint32(100_000) {
		select {
		case word := <-words:
			return word
		default:
			say(i)
		}
	}
	return <-words
}

// What is cheap to say and costs work ends the connection when it does not stop.
func TestFloods(t *testing.T) {
	t.Parallel()
	const streams = 16
	for name, say := range map[string]func(r *raw, i uint32){
		"pings":              func(r *raw, _ uint32) { r.frame(6, 0, 0, "12345678") },
		"settings":           func(r *raw, _ uint32) { r.frame(4, 0, 0, "") },
		"settings heard":     func(r *raw, _ uint32) { r.frame(4, 1, 0, "") },
		"priorities":         func(r *raw, _ uint32) { r.frame(2, 0, 1, "\x00\x00\x00\x00\x01") },
		"unknown frames":     func(r *raw, _ uint32) { r.frame(0xEE, 0, 0, "") },
		"malformed requests": func(r *raw, i uint32) { r.open(2*i+1, true, request("GET", "/", "X", "y")...) },
		"streams and resets": func(r *raw, i uint32) {
			r.open(2*i+1, true, request("GET", "/hold")...)
			r.frame(3, 0, 2*i+1, "\x00\x00\x00\x08")
		},
		"streams beyond": func(r *raw, i uint32) { r.open(2*i+1, true, request("GET", "/hold")...) },
		"resets by bad window": func(r *raw, i uint32) {
			r.open(2*i+1, true, request("GET", "/hold")...)
			r.frame(8, 0, 2*i+1, "\x00\x00\x00\x00")
		},
		"windows byte by byte": func(r *raw, i uint32) {
			if i == 0 {
				r.open(1, true, request("GET", "/hold")...)
			}
			_ = r.WriteWindowUpdate(i%2, 1)
		},
		"data of ended streams": func(r *raw, i uint32) {
			if i == 0 {
				r.open(3, true, request("GET", "/hold")...)
			}
			r.frame(0, 0, 1, "x")
		},
		"fields of ended streams": func(r *raw, i uint32) {
			if i == 0 {
				r.open(1, false, request("POST", "/hold")...)
				r.frame(8, 0, 1, "\x00\x00\x00\x00")
			}
			r.open(1, true, "x", "y")
		},
		"empty data": func(r *raw, i uint32) {
			if i == 0 {
				r.open(1, false, request("POST", "/hold")...)
			}
			r.frame(0, 0, 1, "")
		},
		"empty padded data": func(r *raw, i uint32) {
			if i == 0 {
				r.open(1, false, request("POST", "/hold")...)
				r.frame(3, 0, 1, "\x00\x00\x00\x08")
			}
			r.frame(0, 8, 1, "\x00")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler := newAnswers()
			r := greeted(t, start(t, handler, http2server.Options{MaxStreams: streams}))
			got := flood(r, func(i uint32) { say(r, i) })
			if want := "bye ENHANCE_YOUR_CALM"; got != want && got != "" { // the word may be lost among so many that nobody read
				t.Errorf("%q, want %s", got, want)
			}
			if most := handler.most.Load(); most > 2*streams {
				t.Errorf("%d handlers at once", most)
			}
		})
	}
}

// A header list in pieces without end (CVE-2024-27316), and one that decodes to far more than it is (a bomb), cost little.
func TestHeaderFloods(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		say  func(r *raw)
		want string
	}{
		"empty pieces": {func(r *raw) {
			r.frame(1, 1, 1, "\x82")
			for range 100 {
				r.frame(9, 0, 1, "")
			}
		}, "bye ENHANCE_YOUR_CALM"},
		"large pieces": {func(r *raw) {
			r.frame(1, 1, 1, "\x82")
			for range 10 {
				r.frame(9, 0, 1, strings.Repeat("\x00\x01a\x01b", 3000))
			}
		}, "bye ENHANCE_YOUR_CALM"},
		"a bomb": {func(r *raw) {
			large := strings.Repeat("v", 4000)
			r.frame(1, 5, 1, string(r.list(request("GET", "/", "x", large)...))+strings.Repeat("\xbe", 16000-4100))
		}, "head 1 431"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := greeted(t, start(t, newAnswers(), http2server.Options{}))
			test.say(r)
			if got := r.next(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// Clients that take nothing, or nothing of one stream, or say nothing, do not hold what they have for ever.
func TestStalls(t *testing.T) {
	t.Parallel()
	// Each case has but one short timeout: on a busy machine the others must not come first.
	const short = 300 * time.Millisecond
	writes := http2server.Options{WriteTimeout: 2 * time.Second, RestAfter: short}
	bodies := http2server.Options{BodyTimeout: short, MinBodyRate: 1000, RestAfter: short / 4}
	idles := http2server.Options{IdleTimeout: short, RestAfter: short / 4}
	no := http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}
	for name, test := range map[string]struct {
		options  http2server.Options
		settings []http2.Setting
		say      func(r *raw)
		want     string
	}{
		"no window":           {writes, []http2.Setting{no}, func(r *raw) { r.open(1, true, request("GET", "/large")...) }, "head 1 200, reset 1 CANCEL"},
		"no window, a stream": {writes, []http2.Setting{no}, func(r *raw) { r.open(1, true, request("GET", "/endless")...) }, "head 1 200, reset 1 CANCEL"},
		"a window that ends":  {writes, nil, func(r *raw) { r.open(1, true, request("GET", "/large")...) }, "head 1 200, reset 1 CANCEL"},
		"a body that is late": {bodies, nil, func(r *raw) { r.open(1, false, request("POST", "/echo")...) }, "head 1 408, end 1, reset 1 NO_ERROR"},
		"a body that drips": {bodies, nil, func(r *raw) {
			r.open(1, false, request("POST", "/echo", "content-length", "100000")...)
			go func() {
				for range 1000 {
					r.frame(0, 0, 1, "x")
					time.Sleep(10 * time.Millisecond)
				}
			}()
		}, "head 1 408, end 1, reset 1 NO_ERROR"},
		"no request": {idles, nil, func(*raw) {}, "bye NO_ERROR, closed"},
		"no more":    {http2server.Options{IdleTimeout: 2 * time.Second}, nil, func(r *raw) { r.open(1, true, request("GET", "/")...) }, "head 1 200, end 1, bye NO_ERROR, closed"},
		"a call waits": {bodies, nil, func(r *raw) {
			r.open(1, false, request("POST", "/echo", "content-type", "application/grpc")...)
			go func() {
				time.Sleep(3 * short)
				r.frame(0, 1, 1, "late")
			}()
		}, "head 1 200, end 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := greeted(t, start(t, newAnswers(), test.options), test.settings...)
			test.say(r)
			for _, want := range strings.Split(test.want, ", ") {
				if got := r.next(); got != want {
					t.Fatalf("%s, want %s of %s", got, want, test.want)
				}
			}
		})
	}
	t.Run("nothing is read", func(t *testing.T) {
		t.Parallel()
		handler := newAnswers()
		r := greeted(t, start(t, handler, writes), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
		_ = r.WriteWindowUpdate(0, 1<<30)
		_ = r.nc.(*net.TCPConn).SetReadBuffer(4096)
		r.open(1, true, request("GET", "/endless")...)
		select {
		case sent := <-handler.last:
			if sent.Err == nil || !sent.ClientGone {
				t.Errorf("%+v", sent)
			}
		case <-time.After(patience):
			t.Error("the server goes on")
		}
	})
}

// A reset reaches who waits for an upstream, and so does the end of a connection.
func TestGone(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(r *raw){
		"reset":      func(r *raw) { r.frame(3, 0, 1, "\x00\x00\x00\x08") },
		"closed":     func(r *raw) { _ = r.nc.Close() },
		"half":       func(r *raw) { _ = r.nc.(*net.TCPConn).CloseWrite() },
		"bad frames": func(r *raw) { r.frame(9, 0, 1, "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler := newAnswers()
			r := greeted(t, start(t, handler, http2server.Options{}))
			r.open(1, false, request("POST", "/hold")...)
			<-handler.entered
			leave(r)
			select {
			case <-handler.last:
			case <-time.After(patience):
				t.Fatal("the handler was not told")
			}
			if handler.aborted.Load() != 1 {
				t.Error("the handler went on by itself")
			}
		})
	}
}

// What two streams send does not stop because a third one is not read.
func TestOneStreamStalls(t *testing.T) {
	t.Parallel()
	handler := newAnswers()
	r := greeted(t, start(t, handler, http2server.Options{}))
	r.open(1, false, request("POST", "/hold")...)
	<-handler.entered
	for range 3 {
		r.frame(0, 0, 1, strings.Repeat("x", 16384))
	}
	for id := uint32(3); id < 60; id += 2 { // more than the connection takes without being told more
		r.open(id, false, request("POST", "/echo")...)
		for range 3 {
			r.frame(0, 0, id, strings.Repeat("y", 16384))
		}
		r.frame(0, 1, id, "end")
		_ = r.WriteWindowUpdate(0, 60_000)
		if got := r.next(); got != "head "+itoa(id)+" 200" {
			t.Fatal(got)
		}
		if got := r.next(); got != "end "+itoa(id) || r.body.Len() != 3*16384+3 {
			t.Fatalf("%s, %d bytes", got, r.body.Len())
		}
	}
}

func itoa(id uint32) string {
	var b [10]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + id%10)
		if id /= 10; id == 0 {
			return string(b[i:])
		}
	}
}
