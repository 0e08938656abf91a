package listener

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// version2 makes a header of command and family with what follows.
func version2(command, family byte, rest []byte) string {
	head := append([]byte(signature2), command, family)
	return string(append(binary.BigEndian.AppendUint16(head, uint16(len(rest))), rest...))
}

// pair4 are the addresses of a TCP connection from 192.0.2.1:4000 to 192.0.2.2:443; pair6 of 2001:db8::1 to 2001:db8::2.
func pair4(more ...byte) []byte {
	return append([]byte{192, 0, 2, 1, 192, 0, 2, 2, 0x0f, 0xa0, 0x01, 0xbb}, more...)
}

func pair6() []byte {
	rest := make([]byte, 36)
	copy(rest, []byte{0x20, 0x01, 0x0d, 0xb8})
	copy(rest[16:], rest[:4])
	rest[15], rest[31] = 1, 2
	copy(rest[32:], []byte{0x0f, 0xa0, 0x01, 0xbb})
	return rest
}

func goodHeaders() map[string]struct {
	text, remote, local string
} {
	longest := "PROXY UNKNOWN " + strings.Repeat("f", mostLine-len("PROXY UNKNOWN \r\n")) + "\r\n"
	return map[string]struct{ text, remote, local string }{
		"version 1, IPv4":                  {"PROXY TCP4 192.0.2.1 192.0.2.2 4000 443\r\n", "192.0.2.1:4000", "192.0.2.2:443"},
		"version 1, shortest":              {"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n", "1.1.1.1:1", "1.1.1.1:1"},
		"version 1, IPv6":                  {"PROXY TCP6 2001:db8::1 2001:db8::2 4000 443\r\n", "[2001:db8::1]:4000", "[2001:db8::2]:443"},
		"version 1, IPv4 in IPv6":          {"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 65535 0\r\n", "192.0.2.1:65535", "192.0.2.2:0"},
		"version 1, unknown":               {"PROXY UNKNOWN\r\n", "", ""},
		"version 1, unknown and something": {"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "", ""},
		"version 1, the longest":           {longest, "", ""},
		"version 2, IPv4":                  {version2(0x21, 0x11, pair4()), "192.0.2.1:4000", "192.0.2.2:443"},
		"version 2, IPv6":                  {version2(0x21, 0x21, pair6()), "[2001:db8::1]:4000", "[2001:db8::2]:443"},
		"version 2, vendors' fields":       {version2(0x21, 0x11, pair4(1, 0, 2, 'h', '2')), "192.0.2.1:4000", "192.0.2.2:443"},
		"version 2, much of them":          {version2(0x21, 0x11, pair4(make([]byte, mostHeader2-12)...)), "192.0.2.1:4000", "192.0.2.2:443"},
		"version 2, local":                 {version2(0x20, 0x00, nil), "", ""},
		"version 2, local with addresses":  {version2(0x20, 0x11, pair4()), "", ""},
		"version 2, unspecified":           {version2(0x21, 0x00, []byte{1, 2, 3}), "", ""},
		"version 2, UNIX socket":           {version2(0x21, 0x31, make([]byte, 216)), "", ""},
	}
}

func badHeaders() map[string]string {
	return map[string]string{
		"a request":                       "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"a TLS handshake":                 "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00",
		"HTTP/2":                          "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"lower case":                      "proxy TCP4 192.0.2.1 192.0.2.2 4000 443\r\n",
		"no protocol":                     "PROXY  192.0.2.1 192.0.2.2 4000 443\r\n",
		"UDP":                             "PROXY UDP4 192.0.2.1 192.0.2.2 4000 443\r\n",
		"two spaces":                      "PROXY TCP4 192.0.2.1  192.0.2.2 4000 443\r\n",
		"a space at the end":              "PROXY TCP4 192.0.2.1 192.0.2.2 4000 443 \r\n",
		"a word too many":                 "PROXY TCP4 192.0.2.1 192.0.2.2 4000 443 1\r\n",
		"a word too few":                  "PROXY TCP4 192.0.2.1 192.0.2.2 4000\r\n",
		"LF alone":                        "PROXY TCP4 192.0.2.1 192.0.2.2 4000 443\nGET",
		"CR alone":                        "PROXY TCP4 192.0.2.1 192.0.2.2 4000 443\rGET" + strings.Repeat("x", mostLine),
		"LF before the end":               "PROXY TCP4 192.0.2.1 192.0.2.2 4000 4\n43\r\n",
		"a line that is too long":         "PROXY UNKNOWN " + strings.Repeat("f", mostLine-len("PROXY UNKNOWN \r\n")+1) + "\r\n",
		"IPv6 as IPv4":                    "PROXY TCP4 2001:db8::1 2001:db8::2 4000 443\r\n",
		"IPv4 as IPv6":                    "PROXY TCP6 192.0.2.1 192.0.2.2 4000 443\r\n",
		"a zone":                          "PROXY TCP6 fe80::1%eth0 fe80::2 4000 443\r\n",
		"octets with zeros before":        "PROXY TCP4 192.0.02.1 192.0.2.2 4000 443\r\n",
		"a port with zeros before":        "PROXY TCP4 192.0.2.1 192.0.2.2 04000 443\r\n",
		"a port that is too large":        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n",
		"a port with a sign":              "PROXY TCP4 192.0.2.1 192.0.2.2 +400 443\r\n",
		"a name":                          "PROXY TCP4 localhost 192.0.2.2 4000 443\r\n",
		"UNKNOWN and more without space":  "PROXY UNKNOWNS\r\n",
		"version 2, command":              version2(0x22, 0x11, pair4()),
		"version 2, version":              version2(0x11, 0x11, pair4()),
		"version 2, UDP":                  version2(0x21, 0x12, pair4()),
		"version 2, family":               version2(0x21, 0x41, pair4()),
		"version 2, short of its address": version2(0x21, 0x11, pair4()[:11]),
		"version 2, short of IPv6":        version2(0x21, 0x21, pair4()),
		"version 2, short of a path":      version2(0x21, 0x31, make([]byte, 215)),
		"version 2, too long":             version2(0x21, 0x11, pair4(make([]byte, mostHeader2)...)),
		"version 2, signature":            "\r\n\r\n\x00\r\nQUIT\r" + "\x21\x11\x00\x0c" + string(pair4()),
	}
}

func TestProxyHeaders(t *testing.T) {
	t.Parallel()
	for name, test := range goodHeaders() {
		for how, reader := range map[string]func(io.Reader) io.Reader{"": func(r io.Reader) io.Reader { return r }, ", in pieces": iotest.OneByteReader} {
			t.Run(name+how, func(t *testing.T) {
				t.Parallel()
				r := reader(strings.NewReader(test.text + "rest"))
				got, err := readProxyHeader(r)
				if err != nil {
					t.Fatal(err)
				}
				want := proxied{}
				if test.remote != "" {
					want = proxied{netip.MustParseAddrPort(test.remote), netip.MustParseAddrPort(test.local)}
				}
				if got != want {
					t.Errorf("%+v, want %+v", got, want)
				}
				if rest, _ := io.ReadAll(r); string(rest) != "rest" {
					t.Errorf("%q is left, want what follows", rest)
				}
			})
		}
		for cut := range len(test.text) {
			if _, err := readProxyHeader(strings.NewReader(test.text[:cut])); err == nil || errors.Is(err, errProxyHeader) {
				t.Fatalf("%s, cut to %d bytes: %v", name, cut, err)
			}
		}
	}
}

func TestProxyHeadersThatAreNone(t *testing.T) {
	t.Parallel()
	for name, text := range badHeaders() {
		if got, err := readProxyHeader(strings.NewReader(text)); !errors.Is(err, errProxyHeader) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// FuzzProxyHeader holds that nothing behind a header is read, that what is taken is complete, and that version 1 has one
// spelling only.
func FuzzProxyHeader(f *testing.F) {
	for _, good := range goodHeaders() {
		f.Add([]byte(good.text))
	}
	for _, bad := range badHeaders() {
		f.Add([]byte(bad))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		got, err := readProxyHeader(r)
		used := data[:len(data)-r.Len()]
		if err != nil {
			if got != (proxied{}) {
				t.Fatalf("%+v with %v", got, err)
			}
			return
		}
		if got.remote.IsValid() != got.local.IsValid() || got.remote.Addr().Is4In6() {
			t.Fatalf("%+v", got)
		}
		if len(used) > len(signature2)+4+mostHeader2 {
			t.Fatalf("%d bytes", len(used))
		}
		line, isLine := strings.CutSuffix(string(used), "\r\n")
		if isLine && strings.HasPrefix(line, "PROXY TCP4") {
			want := strings.Join([]string{"PROXY TCP4", got.remote.Addr().String(), got.local.Addr().String(), port(got.remote), port(got.local)}, " ")
			if line != want {
				t.Fatalf("%q was read as %q", line, want)
			}
		}
		if again, err := readProxyHeader(bytes.NewReader(used)); err != nil || again != got {
			t.Fatalf("%+v, %v; before %+v", again, err, got)
		}
	})
}

func port(a netip.AddrPort) string {
	_, text, _ := strings.Cut(a.String(), ":")
	return text
}
