package http2server_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/keepgate/keepgate/dataplane/http2server"
)

// What breaks the protocol ends the stream or the connection with the code that RFC 9113 asks for, and nothing else.
func TestFrames(t *testing.T) {
	t.Parallel()
	addr := start(t, newAnswers(), http2server.Options{})
	get := request("GET", "/")
	for name, test := range map[string]struct {
		say  func(r *raw)
		want string // what is heard, in its order
	}{
		"a request":                    {func(r *raw) { r.open(1, true, get...) }, "head 1 200, end 1"},
		"an unknown frame":             {func(r *raw) { r.frame(0xFA, 0xFF, 7, "x"); r.open(1, true, get...) }, "head 1 200, end 1"},
		"a priority":                   {func(r *raw) { r.frame(2, 0, 9, "\x00\x00\x00\x00\x01"); r.open(1, true, get...) }, "head 1 200, end 1"},
		"a priority too short":         {func(r *raw) { r.frame(2, 0, 9, "x") }, "bye FRAME_SIZE_ERROR, closed"},
		"a priority of no stream":      {func(r *raw) { r.frame(2, 0, 0, "12345") }, "bye PROTOCOL_ERROR, closed"},
		"an even stream":               {func(r *raw) { r.open(2, true, get...) }, "bye PROTOCOL_ERROR, closed"},
		"stream 0":                     {func(r *raw) { r.open(0, true, get...) }, "bye PROTOCOL_ERROR, closed"},
		"a stream twice":               {func(r *raw) { r.open(3, true, get...); r.next(); r.next(); r.open(3, true, get...) }, "bye STREAM_CLOSED, closed"},
		"streams backwards":            {func(r *raw) { r.open(3, true, get...); r.next(); r.next(); r.open(1, true, get...) }, "bye STREAM_CLOSED, closed"},
		"data before a stream":         {func(r *raw) { r.frame(0, 1, 1, "x") }, "bye PROTOCOL_ERROR, closed"},
		"data of no stream":            {func(r *raw) { r.frame(0, 1, 0, "x") }, "bye PROTOCOL_ERROR, closed"},
		"padding beyond the frame":     {func(r *raw) { r.open(1, false, request("POST", "/echo")...); r.frame(0, 8, 1, "\x04abc") }, "bye PROTOCOL_ERROR, closed"},
		"padding without a length":     {func(r *raw) { r.open(1, false, request("POST", "/echo")...); r.frame(0, 8, 1, "") }, "bye FRAME_SIZE_ERROR, closed"},
		"padded fields":                {func(r *raw) { r.frame(1, 4|1|8, 1, "\x02"+string(r.list(get...))+"\x00\x00") }, "head 1 200, end 1"},
		"fields padded beyond":         {func(r *raw) { r.frame(1, 4|1|8, 1, "\xff"+string(r.list(get...))) }, "bye PROTOCOL_ERROR, closed"},
		"fields with a priority":       {func(r *raw) { r.frame(1, 4|1|32, 1, "\x00\x00\x00\x00\x01"+string(r.list(get...))) }, "head 1 200, end 1"},
		"fields cut in a priority":     {func(r *raw) { r.frame(1, 4|1|32, 1, "\x00") }, "bye FRAME_SIZE_ERROR, closed"},
		"a window of nothing":          {func(r *raw) { _ = r.WriteWindowUpdate(0, 0) }, "bye PROTOCOL_ERROR, closed"},
		"a window too large":           {func(r *raw) { _ = r.WriteWindowUpdate(0, 1<<31-1) }, "bye FLOW_CONTROL_ERROR, closed"},
		"a window of no stream yet":    {func(r *raw) { _ = r.WriteWindowUpdate(5, 1) }, "bye PROTOCOL_ERROR, closed"},
		"a window cut":                 {func(r *raw) { r.frame(8, 0, 0, "xx") }, "bye FRAME_SIZE_ERROR, closed"},
		"a stream's window of nothing": {func(r *raw) { r.open(1, false, request("POST", "/echo")...); _ = r.WriteWindowUpdate(1, 0) }, "reset 1 PROTOCOL_ERROR"},
		"a stream's window too large":  {func(r *raw) { r.open(1, false, request("POST", "/echo")...); _ = r.WriteWindowUpdate(1, 1<<31-1) }, "reset 1 FLOW_CONTROL_ERROR"},
		"windows too large by settings": {func(r *raw) {
			r.open(1, false, request("POST", "/echo")...)
			_ = r.WriteWindowUpdate(1, 1<<30)
			_ = r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
		}, "bye FLOW_CONTROL_ERROR, closed"},
		"an initial window too large": {func(r *raw) { _ = r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}) }, "bye FLOW_CONTROL_ERROR, closed"},
		"frames too small":            {func(r *raw) { _ = r.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 100}) }, "bye PROTOCOL_ERROR, closed"},
		"a push of 2":                 {func(r *raw) { _ = r.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 2}) }, "bye PROTOCOL_ERROR, closed"},
		"settings cut":                {func(r *raw) { r.frame(4, 0, 0, "12345") }, "bye FRAME_SIZE_ERROR, closed"},
		"settings of a stream":        {func(r *raw) { r.frame(4, 0, 1, "") }, "bye PROTOCOL_ERROR, closed"},
		"settings heard with more":    {func(r *raw) { r.frame(4, 1, 0, "123456") }, "bye FRAME_SIZE_ERROR, closed"},
		"a ping of a stream":          {func(r *raw) { r.frame(6, 0, 1, "12345678") }, "bye PROTOCOL_ERROR, closed"},
		"a ping cut":                  {func(r *raw) { r.frame(6, 0, 0, "1234567") }, "bye FRAME_SIZE_ERROR, closed"},
		"a reset of no stream":        {func(r *raw) { r.frame(3, 0, 0, "1234") }, "bye PROTOCOL_ERROR, closed"},
		"a reset of no stream yet":    {func(r *raw) { r.frame(3, 0, 1, "1234") }, "bye PROTOCOL_ERROR, closed"},
		"a reset cut":                 {func(r *raw) { r.frame(3, 0, 1, "123") }, "bye FRAME_SIZE_ERROR, closed"},
		"a push":                      {func(r *raw) { r.frame(5, 4, 1, "\x00\x00\x00\x02") }, "bye PROTOCOL_ERROR, closed"},
		"a goodbye":                   {func(r *raw) { _ = r.WriteGoAway(0, 0, nil) }, "bye NO_ERROR, closed"},
		"a goodbye cut":               {func(r *raw) { r.frame(7, 0, 0, "1234") }, "bye FRAME_SIZE_ERROR, closed"},
		"a frame too large":           {func(r *raw) { r.frame(0, 0, 1, strings.Repeat("x", 16385)) }, "bye FRAME_SIZE_ERROR, closed"},
		"a continuation of nothing":   {func(r *raw) { r.frame(9, 4, 1, "") }, "bye PROTOCOL_ERROR, closed"},
		"fields in pieces": {func(r *raw) {
			block := string(r.list(get...))
			r.frame(1, 1, 1, block[:3])
			r.frame(9, 0, 1, block[3:5])
			r.frame(9, 4, 1, block[5:])
		}, "head 1 200, end 1"},
		"a frame among the pieces":    {func(r *raw) { r.frame(1, 1, 1, "\x82"); r.frame(6, 0, 0, "12345678") }, "bye PROTOCOL_ERROR, closed"},
		"a piece of another stream":   {func(r *raw) { r.frame(1, 1, 1, "\x82"); r.frame(9, 4, 3, "\x84") }, "bye PROTOCOL_ERROR, closed"},
		"a bad index":                 {func(r *raw) { r.frame(1, 5, 1, "\xff\x00") }, "bye COMPRESSION_ERROR, closed"},
		"a bad index in trailers":     {func(r *raw) { r.open(1, false, request("POST", "/hold")...); r.frame(1, 5, 1, "\xff\x00") }, "bye COMPRESSION_ERROR, closed"},
		"trailers that do not end":    {func(r *raw) { r.open(1, false, request("POST", "/echo")...); r.open(1, false, "x", "y") }, "reset 1 PROTOCOL_ERROR"},
		"a pseudo-header in trailers": {func(r *raw) { r.open(1, false, request("POST", "/echo")...); r.open(1, true, ":path", "/") }, "reset 1 PROTOCOL_ERROR"},
		"trailers after the end":      {func(r *raw) { r.open(1, true, request("POST", "/hold")...); r.open(1, true, "x", "y") }, "reset 1 STREAM_CLOSED"},
		"data after the end":          {func(r *raw) { r.open(1, true, request("POST", "/hold")...); r.frame(0, 0, 1, "x") }, "reset 1 STREAM_CLOSED"},
		"more than the length": {func(r *raw) {
			r.open(1, false, request("POST", "/hold", "content-length", "3")...)
			r.frame(0, 1, 1, "xxxx")
		}, "reset 1 PROTOCOL_ERROR"},
		"less than the length": {func(r *raw) {
			r.open(1, false, request("POST", "/hold", "content-length", "3")...)
			r.frame(0, 1, 1, "xx")
		}, "reset 1 PROTOCOL_ERROR"},
		"a length and no body": {func(r *raw) { r.open(1, true, request("POST", "/echo", "content-length", "3")...) }, "reset 1 PROTOCOL_ERROR"},
		"a length of 0 and a body": {func(r *raw) {
			r.open(1, false, request("POST", "/hold", "content-length", "0")...)
			r.frame(0, 1, 1, "x")
		}, "reset 1 PROTOCOL_ERROR"},
		"more than the window": {func(r *raw) {
			r.open(1, false, request("POST", "/hold")...)
			for range 5 {
				r.frame(0, 0, 1, strings.Repeat("x", 16384))
			}
		}, "reset 1 FLOW_CONTROL_ERROR"},
		"CONNECT":             {func(r *raw) { r.open(1, true, ":method", "CONNECT", ":authority", "a.test:443") }, "head 1 501, end 1"},
		"CONNECT with a path": {func(r *raw) { r.open(1, true, request("CONNECT", "/")...) }, "reset 1 PROTOCOL_ERROR"},
		"a WebSocket":         {func(r *raw) { r.open(1, true, request("CONNECT", "/", ":protocol", "websocket")...) }, "reset 1 PROTOCOL_ERROR"},
		"a scheme of its own": {func(r *raw) { r.open(1, true, ":method", "GET", ":scheme", "gopher", ":authority", "a", ":path", "/") }, "reset 1 PROTOCOL_ERROR"},
		"no path":             {func(r *raw) { r.open(1, true, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "") }, "reset 1 PROTOCOL_ERROR"},
		"an absolute path":    {func(r *raw) { r.open(1, true, request("GET", "http://a.test/")...) }, "reset 1 PROTOCOL_ERROR"},
		"an asterisk":         {func(r *raw) { r.open(1, true, request("OPTIONS", "*")...) }, "head 1 400, end 1"},
		"a blank around":      {func(r *raw) { r.open(1, true, request("GET", "/", "x", " y")...) }, "reset 1 PROTOCOL_ERROR"},
		"a path with dots":    {func(r *raw) { r.open(1, true, request("GET", "/a/..%2fb")...) }, "head 1 400, end 1"},
		"a path too long":     {func(r *raw) { r.open(1, true, request("GET", "/"+strings.Repeat("x", 9000))...) }, "head 1 414, end 1"},
		"no host":             {func(r *raw) { r.open(1, true, ":method", "GET", ":scheme", "http", ":path", "/") }, "head 1 400, end 1"},
		"a host alone":        {func(r *raw) { r.open(1, true, ":method", "GET", ":scheme", "http", ":path", "/", "host", "a.test") }, "head 1 200, end 1"},
		"two hosts": {func(r *raw) {
			r.open(1, true, ":method", "GET", ":scheme", "http", ":path", "/", "host", "a.test", "host", "a.test")
		}, "head 1 400, end 1"},
		"another host":        {func(r *raw) { r.open(1, true, request("GET", "/", "host", "b.test")...) }, "head 1 400, end 1"},
		"an empty authority":  {func(r *raw) { r.open(1, true, ":method", "GET", ":scheme", "http", ":authority", "", ":path", "/") }, "head 1 400, end 1"},
		"another expectation": {func(r *raw) { r.open(1, false, request("POST", "/", "expect", "miracles")...) }, "head 1 417, end 1, reset 1 NO_ERROR"},
		"an expectation": {func(r *raw) {
			r.open(1, false, request("POST", "/echo", "expect", "100-continue")...)
			r.next()
			r.frame(0, 1, 1, "x")
		}, "head 1 200, end 1"},
		"an unread body": {func(r *raw) { r.open(1, false, request("POST", "/")...); r.frame(0, 0, 1, "x") }, "head 1 200, end 1, reset 1 NO_ERROR"},
		"a head too large": {func(r *raw) {
			r.frame(1, 1, 1, string(r.list(request("GET", "/", "x", strings.Repeat("\xff", 12000))...)))
			r.frame(9, 0, 1, string(r.list("y", strings.Repeat("\xff", 12000))))
			r.frame(9, 4, 1, string(r.list("z", strings.Repeat("\xff", 12000))))
			r.open(3, true, get...)
		}, "head 1 431, end 1|head 3 200, end 3"},
		"too many fields": {func(r *raw) {
			r.open(1, true, request("GET", "/", strings.Split(strings.Repeat("a,b,", 200)+"a,b", ",")...)...)
		}, "head 1 431, end 1"},
		"a long response head": {func(r *raw) { r.open(1, true, request("GET", "/fields")...) }, "head 1 200, end 1"},
		"HEAD":                 {func(r *raw) { r.open(1, true, request("HEAD", "/")...) }, "head 1 200 end"},
		"a table of nothing": {func(r *raw) {
			_ = r.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
			r.reader.SetAllowedMaxDynamicTableSize(0)
			r.open(1, true, get...)
		}, "head 1 200, end 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := greeted(t, addr)
			test.say(r)
			heard := map[string]bool{}
			for _, option := range strings.Split(test.want, "|") { // of which one is heard first
				heard[strings.Split(option, ", ")[0]] = true
			}
			first := r.next()
			if !heard[first] {
				t.Fatalf("%s, want %s", first, test.want)
			}
			for _, option := range strings.Split(test.want, "|") {
				parts := strings.Split(option, ", ")
				if parts[0] != first {
					continue
				}
				for _, want := range parts[1:] {
					if got := r.next(); got != want {
						t.Fatalf("%s after %s, want %s", got, first, test.want)
					}
				}
			}
		})
	}
}

// A connection that does not begin as HTTP/2 does ends.
func TestPreface(t *testing.T) {
	t.Parallel()
	addr := start(t, newAnswers(), http2server.Options{HeadTimeout: 300 * time.Millisecond})
	for name, text := range map[string]string{
		"HTTP/1.1":            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"half of it":          "PRI * HTTP/2.0\r\n\r\nSM",
		"nothing":             "",
		"no settings":         http2.ClientPreface,
		"a ping first":        http2.ClientPreface + "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678",
		"settings heard":      http2.ClientPreface + "\x00\x00\x00\x04\x01\x00\x00\x00\x00",
		"a frame without end": http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x08\x06\x00\x00\x00\x00\x001234",
		"a list without end":  http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01\x00\x00\x00\x01\x82",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := dial(t, addr)
			_, _ = io.WriteString(r.nc, text)
			if _, err := io.Copy(io.Discard, r.nc); err != nil {
				if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
					t.Error("still open")
				}
			}
		})
	}
}
