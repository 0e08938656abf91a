package grpcweb_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/grpcweb"
)

func TestFormOf(t *testing.T) {
	t.Parallel()
	for contentType, want := range map[string]grpcweb.Form{
		"application/grpc-web": grpcweb.Binary, "application/grpc-web+proto": grpcweb.Binary, "Application/GRPC-Web; charset=utf-8": grpcweb.Binary,
		"application/grpc-web-text": grpcweb.Text, "application/grpc-web-text+proto": grpcweb.Text, "application/grpc-web+json": grpcweb.Binary,
		"application/grpc": grpcweb.None, "application/grpc+proto": grpcweb.None, "application/grpc-website": grpcweb.None,
		"application/grpc-web-texture": grpcweb.None, "": grpcweb.None, "text/plain": grpcweb.None, " application/grpc-web": grpcweb.None,
	} {
		if got := grpcweb.FormOf(contentType); got != want {
			t.Errorf("%q: %v, want %v", contentType, got, want)
		}
	}
	for contentType, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "APPLICATION/grpc;x=y": true, "application/grpc-web": false, "application/grpcx": false, "": false,
	} {
		if got := grpcweb.IsGRPC(contentType); got != want {
			t.Errorf("IsGRPC(%q) = %v", contentType, got)
		}
	}
}

// request makes an exchange that asks in gRPC-Web.
func request(contentType, accept string, body io.Reader) *exchange.Exchange {
	ex := new(exchange.Exchange)
	ex.Reset()
	ex.Request.Method = "POST"
	ex.Request.Header.Set("Content-Type", contentType)
	if accept != "" {
		ex.Request.Header.Set("Accept", accept)
	}
	ex.Request.Body, ex.Request.ContentLength = body, -1
	return ex
}

func TestRequest(t *testing.T) {
	t.Parallel()
	message := "\x00\x00\x00\x00\x03abc"
	encoded := base64.StdEncoding.EncodeToString
	for name, test := range map[string]struct {
		contentType, accept, body string
		form                      grpcweb.Form
		wantType, wantBody        string
		fails                     bool
	}{
		"binary":               {"application/grpc-web+proto", "", message, grpcweb.Binary, "application/grpc+proto", message, false},
		"no format":            {"application/grpc-web", "*/*", message, grpcweb.Binary, "application/grpc", message, false},
		"text":                 {"application/grpc-web-text", "", encoded([]byte(message)), grpcweb.Text, "application/grpc", message, false},
		"text in padded parts": {"application/grpc-web-text", "", encoded([]byte(message[:1])) + encoded([]byte(message[1:3])) + encoded([]byte(message[3:])), grpcweb.Text, "application/grpc", message, false},
		"text, binary back":    {"application/grpc-web-text", "application/grpc-web", encoded([]byte(message)), grpcweb.Binary, "application/grpc", message, false},
		"binary, text back":    {"application/grpc-web", "application/grpc-web-text", message, grpcweb.Text, "application/grpc", message, false},
		"no base64":            {"application/grpc-web-text", "", "AAA!", grpcweb.Text, "application/grpc", "", true},
		"cut base64":           {"application/grpc-web-text", "", "AAAAA", grpcweb.Text, "application/grpc", "\x00\x00\x00", true},
		"a line end inside":    {"application/grpc-web-text", "", "AA\nAA\r\nAA", grpcweb.Text, "application/grpc", "", true},
		"gRPC":                 {"application/grpc", "", message, grpcweb.None, "application/grpc", message, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, body := range []io.Reader{strings.NewReader(test.body), iotest.OneByteReader(strings.NewReader(test.body)), iotest.DataErrReader(strings.NewReader(test.body))} {
				ex := request(test.contentType, test.accept, body)
				if form := grpcweb.Request(ex); form != test.form || ex.Request.Header.Get("Content-Type") != test.wantType {
					t.Fatalf("form %v, content type %q", form, ex.Request.Header.Get("Content-Type"))
				}
				got, err := io.ReadAll(ex.Request.Body)
				if string(got) != test.wantBody || test.fails != errors.Is(err, exchange.ErrBodyMalformed) || !test.fails && err != nil {
					t.Fatalf("%q, %v; want %q", got, err, test.wantBody)
				}
			}
		})
	}
}

// split reads a body of gRPC-Web: its messages as they are, and its trailers.
func split(t testing.TB, body []byte) (messages []byte, trailers string) {
	t.Helper()
	for len(body) > 0 {
		if len(body) < 5 || len(body) < 5+int(binary.BigEndian.Uint32(body[1:])) {
			t.Fatalf("a cut frame: %q", body)
		}
		end := 5 + int(binary.BigEndian.Uint32(body[1:]))
		if body[0]&0x80 != 0 {
			if trailers = string(body[5:end]); end != len(body) {
				t.Fatalf("behind the trailers: %q", body[end:])
			}
			return messages, trailers
		}
		messages = append(messages, body[:end]...)
		body = body[end:]
	}
	return messages, trailers
}

// decodeParts decodes base64 that was padded anywhere.
func decodeParts(t testing.TB, text []byte) []byte {
	t.Helper()
	var out []byte
	for ; len(text) > 0; text = text[4:] {
		part, err := base64.StdEncoding.DecodeString(string(text[:min(4, len(text))]))
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		out = append(out, part...)
	}
	return out
}

func TestResponse(t *testing.T) {
	t.Parallel()
	messages := strings.Repeat("\x00\x00\x00\x00\x05hello", 3000) // more than is encoded at once
	for name, test := range map[string]struct {
		form     grpcweb.Form
		header   [2]string
		trailers [][2]string
		body     string
		want     string
	}{
		"binary":        {grpcweb.Binary, [2]string{}, [][2]string{{"Grpc-Status", "0"}, {"X-Sum", "7"}}, messages, "grpc-status:0\r\nx-sum:7\r\n"},
		"text":          {grpcweb.Text, [2]string{}, [][2]string{{"grpc-status", "5"}, {"grpc-message", "no such thing"}}, messages, "grpc-status:5\r\ngrpc-message:no such thing\r\n"},
		"no word":       {grpcweb.Binary, [2]string{}, nil, messages, "grpc-status:2\r\n"},
		"trailers only": {grpcweb.Binary, [2]string{"grpc-status", "12"}, nil, "", "grpc-status:12\r\n"},
		"in text":       {grpcweb.Text, [2]string{"grpc-status", "12"}, nil, "", "grpc-status:12\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ex := request("application/grpc-web", "", strings.NewReader(""))
			r := &ex.Response
			r.Status, r.Origin, r.ContentLength = 200, exchange.Upstream, -1
			r.Header.Set("Content-Type", "application/grpc+proto")
			if test.header[0] != "" {
				r.Header.Set(test.header[0], test.header[1])
			}
			r.Stream = io.NopCloser(&trailing{strings.NewReader(test.body), ex, test.trailers})
			grpcweb.Response(ex, test.form)
			body := r.Body
			if r.Stream != nil {
				var err error
				if body, err = io.ReadAll(r.Stream); err != nil {
					t.Fatal(err)
				}
			}
			if test.form == grpcweb.Text {
				body = decodeParts(t, body)
			}
			if got, trailers := split(t, body); string(got) != test.body || trailers != test.want {
				t.Fatalf("%d bytes of messages, trailers %q", len(got), trailers)
			}
			if r.Trailer.Len() > 0 || r.Header.Has("grpc-status") {
				t.Error("the status is told twice")
			}
			if want := map[grpcweb.Form]string{grpcweb.Binary: "application/grpc-web+proto", grpcweb.Text: "application/grpc-web-text+proto"}[test.form]; r.Header.Get("Content-Type") != want {
				t.Errorf("content type %q", r.Header.Get("Content-Type"))
			}
		})
	}
}

// trailing fills in the trailers at its end.
type trailing struct {
	io.Reader
	ex       *exchange.Exchange
	trailers [][2]string
}

func (t *trailing) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	if err == io.EOF {
		for _, f := range t.trailers {
			t.ex.Response.Trailer.Add(f[0], f[1])
		}
		t.trailers = nil
	}
	return n, err
}

// A response that breaks off does not look whole.
func TestCutResponse(t *testing.T) {
	t.Parallel()
	for _, form := range []grpcweb.Form{grpcweb.Binary, grpcweb.Text} {
		ex := request("application/grpc-web", "", strings.NewReader(""))
		ex.Response.Header.Set("Content-Type", "application/grpc")
		ex.Response.Stream = io.NopCloser(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(io.ErrUnexpectedEOF)))
		grpcweb.Response(ex, form)
		if body, err := io.ReadAll(ex.Response.Stream); !errors.Is(err, io.ErrUnexpectedEOF) || bytes.Contains(body, []byte("grpc-status")) {
			t.Errorf("%q, %v", body, err)
		}
	}
}

// FuzzText sends any bytes as base64, cut anywhere: what is read does not depend on the cuts, and is what the pieces say.
func FuzzText(f *testing.F) {
	for _, seed := range []string{"AAAA", "AA==AAA=AAAA", "A===", "====", "AA=A", "AAAAA", "AA\nAA", "!!!!", strings.Repeat("QUJD", 2000), strings.Repeat("QQ==", 2000)} {
		f.Add([]byte(seed), uint8(1))
		f.Add([]byte(seed), uint8(7))
	}
	f.Fuzz(func(t *testing.T, body []byte, step uint8) {
		read := func(src io.Reader) ([]byte, error) {
			ex := request("application/grpc-web-text", "", src)
			grpcweb.Request(ex)
			return io.ReadAll(ex.Request.Body)
		}
		whole, err := read(bytes.NewReader(body))
		cut, cutErr := read(&stepping{body, int(step%64) + 1})
		if !errors.Is(err, cutErr) {
			t.Fatalf("%v at once, %v in pieces", err, cutErr)
		}
		if err == nil && !bytes.Equal(whole, cut) {
			t.Fatalf("%q at once, %q in pieces", whole, cut)
		}
		if err == nil && !bytes.Equal(whole, decodeParts(t, body)) {
			t.Fatalf("%q from %q", whole, body)
		}
	})
}

// stepping gives n bytes at a time.
type stepping struct {
	b []byte
	n int
}

func (s *stepping) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.b[:min(s.n, len(s.b))])
	s.b = s.b[n:]
	return n, nil
}

// FuzzContentType: whatever is taken for gRPC-Web goes on as gRPC, with what followed.
func FuzzContentType(f *testing.F) {
	for _, seed := range []string{"application/grpc-web", "application/grpc-web-text+proto", "application/grpc-web;x", "application/grpc", "application/grpc-web-", "APPLICATION/GRPC-WEB+json; q=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, contentType string) {
		ex := request(contentType, "", strings.NewReader(""))
		before := ex.Request.Header.Get("Content-Type")
		form, after := grpcweb.Request(ex), ex.Request.Header.Get("Content-Type")
		if form == grpcweb.None && after != before || form != grpcweb.None && !grpcweb.IsGRPC(after) {
			t.Fatalf("%q became %q as %v", before, after, form)
		}
		if form != grpcweb.None && grpcweb.IsGRPC(before) {
			t.Fatalf("%q is both", before)
		}
	})
}
