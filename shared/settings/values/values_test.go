package values_test

import (
	"encoding"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/shared/settings/values"
)

type value interface {
	encoding.TextUnmarshaler
	fmt.Stringer
}

func fresh() map[string]value {
	return map[string]value{
		"listen": new(values.Listen), "size": new(values.Size), "prefixes": new(values.Prefixes), "labels": new(values.Labels),
		"ports": new(values.Ports), "versions": new(values.Versions), "buffers": new(values.Buffers),
	}
}

func TestReadAndWrite(t *testing.T) {
	t.Parallel()
	tests := []struct{ kind, text, canonical string }{
		{"listen", "", "off"},
		{"listen", "off", "off"},
		{"listen", "0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl reuseport backlog=16384", "0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl reuseport backlog=16384"},
		{"listen", "[::1]:8001 deferred bind so_keepalive=on ipv6only=on", "[::1]:8001 deferred"},
		{"listen", "[::]:80 ipv6only=off so_keepalive=off", "[::]:80 ipv6only=off so_keepalive=off"},
		{"listen", "localhost:0 proxy_protocol", "localhost:0 proxy_protocol"},
		{"size", "0", "0"},
		{"size", "8m", "8m"},
		{"size", "1024K", "1m"},
		{"size", "1500", "1500"},
		{"prefixes", "", ""},
		{"prefixes", "10.1.2.3/8, ::1, unix:, 192.168.0.1", "10.0.0.0/8, ::1/128, 192.168.0.1/32, unix:"},
		{"prefixes", "::ffff:10.0.0.1, ::ffff:10.0.0.0/104", "10.0.0.1/32, 10.0.0.0/8"},
		{"labels", "tier:edge, region:eu-1", "region:eu-1,tier:edge"},
		{"labels", "a:b:c", "a:b:c"},
		{"labels", "", ""},
		{"ports", "", ""},
		{"ports", "443:8443,80:8000", "80:8000, 443:8443"},
		{"versions", "TLSv1.3 TLSv1.2", "TLSv1.2 TLSv1.3"},
		{"versions", "tlsv1 TLSv1.1, TLSv1.2", "TLSv1.2"},
		{"versions", "TLSv1.3", "TLSv1.3"},
		{"buffers", "4 8k", "4 8k"},
		{"buffers", " 2  16384 ", "2 16k"},
	}
	for _, test := range tests {
		t.Run(test.kind+" "+test.text, func(t *testing.T) {
			t.Parallel()
			got := fresh()[test.kind]
			if err := got.UnmarshalText([]byte(test.text)); err != nil {
				t.Fatal(err)
			}
			if got.String() != test.canonical {
				t.Fatalf("String = %q, want %q", got, test.canonical)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	tests := []struct{ kind, text, why string }{
		{"listen", "8000", "not <address>:<port>"},
		{"listen", ":8000", "not <address>:<port>"},
		{"listen", "::1:8000", "not <address>:<port>"},
		{"listen", "127.0.0.1:65536", "no port"},
		{"listen", "127.0.0.1:http", "no port"},
		{"listen", "127.0.0.1:+80", "no port"},
		{"listen", "127.0.0.1:80 shiny", `unknown flag "shiny"`},
		{"listen", "127.0.0.1:80 backlog=x", "backlog"},
		{"listen", "127.0.0.1:80,", "entry is empty"},
		{"listen", "off, 127.0.0.1:80", "not <address>:<port>"},
		{"listen", "127.0.0.1:80, 127.0.0.1:80 ssl", "listed twice"},
		{"size", "", "number"},
		{"size", "-1", "number"},
		{"size", "1mb", "number"},
		{"size", "9223372036854775807k", "too large"},
		{"prefixes", "10.0.0.0/33", "not an address range"},
		{"prefixes", "example.com", "neither an address"},
		{"prefixes", "fe80::1%eth0", "neither an address"},
		{"ports", "80", "not <port"},
		{"ports", "80:0", "not <port"},
		{"ports", "80:65536", "not <port"},
		{"ports", "80:8000, 81:8000", "twice"},
		{"versions", "", "TLS 1.2 and 1.3"},
		{"versions", "TLSv1.1", "TLS 1.2 and 1.3"},
		{"versions", "SSLv3 TLSv1.2", "no version"},
		{"buffers", "8k", "a number and a size"},
		{"buffers", "0 8k", "no number"},
		{"buffers", "4 100", "1k or more"},
		{"buffers", "4 32k", "64k or less"},
		{"buffers", "9999999999999999999 8k", "no number"},
		{"labels", "region", "<name>:<value>"},
		{"labels", "Region:eu", "no label"},
		{"labels", "region:" + strings.Repeat("e", 64), "no label"},
		{"labels", "konnect-x:y", "reserved"},
		{"labels", "a:1,a:2", "twice"},
		{"labels", "a:1,b:1,c:1,d:1,e:1,f:1,g:1,h:1,i:1,j:1,l:1", "at most 10"},
	}
	for _, test := range tests {
		t.Run(test.kind+" "+test.text, func(t *testing.T) {
			t.Parallel()
			err := fresh()[test.kind].UnmarshalText([]byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.why) {
				t.Fatalf("UnmarshalText = %v, want an error about %q", err, test.why)
			}
		})
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true,
		"0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "example.com:1": false,
	} {
		if got := (values.Listener{Address: address}).Loopback(); got != want {
			t.Errorf("Loopback of %s = %v, want %v", address, got, want)
		}
	}
}

func TestPrefixesContain(t *testing.T) {
	t.Parallel()
	var prefixes values.Prefixes
	if err := prefixes.UnmarshalText([]byte("10.0.0.0/8, ::1")); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, address := range []string{"10.9.9.9", "::ffff:10.9.9.9", "11.0.0.1", "::1", "::2"} {
		got[address] = prefixes.Contains(netip.MustParseAddr(address))
	}
	want := map[string]bool{"10.9.9.9": true, "::ffff:10.9.9.9": true, "11.0.0.1": false, "::1": true, "::2": false}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Contains (-want +got):\n%s", diff)
	}
}

// FuzzValues: what a kind reads it writes so that it reads the same again.
func FuzzValues(f *testing.F) {
	for _, seed := range []string{"off", "0.0.0.0:8443 http2 ssl reuseport backlog=16384", "8m", "10.0.0.0/8, unix:", "region:eu,tier:edge", "[::1]:0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for kind, first := range fresh() {
			if first.UnmarshalText([]byte(text)) != nil {
				continue
			}
			second := fresh()[kind]
			if err := second.UnmarshalText([]byte(first.String())); err != nil {
				t.Fatalf("%s wrote %q, which it does not read: %v", kind, first, err)
			}
			if first.String() != second.String() {
				t.Fatalf("%s reads %q as %q", kind, first, second)
			}
		}
	})
}
