package format_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
	"github.com/keepgate/keepgate/shared/schema/internal/format"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	const ok = ""
	tests := []struct {
		format        schemav1.Format
		value, stored string // stored "": as given
		message       string
	}{
		{schemav1.Format_FORMAT_NAME, "a.B-1_~é", "", ok},
		{schemav1.Format_FORMAT_NAME, "a/b", "", "invalid value 'a/b': the only accepted ascii characters are alphanumerics or ., -, _, and ~"},
		{schemav1.Format_FORMAT_UUID, "C0FFEE00-0000-4000-8000-00000000000A", "c0ffee00-0000-4000-8000-00000000000a", ok},
		{schemav1.Format_FORMAT_UUID, "c0ffee00-0000-4000-8000-00000000000g", "", "expected a valid UUID"},
		{schemav1.Format_FORMAT_UUID, "c0ffee0000004000800000000000000a0000", "", "expected a valid UUID"},
		{schemav1.Format_FORMAT_HOST, "a_b.example.com", "", ok},
		{schemav1.Format_FORMAT_HOST, "::1", "", ok},
		{schemav1.Format_FORMAT_HOST, "[::1]", "", ok},
		{schemav1.Format_FORMAT_HOST, "[::1]:80", "", "must not have a port"},
		{schemav1.Format_FORMAT_HOST, "https://a.example", "", "must be a host alone, as example.com: what a URL says beside it has fields of its own, as protocol and port"},
		{schemav1.Format_FORMAT_HOST, "256.1.1.1", "", "invalid value: 256.1.1.1"},
		{schemav1.Format_FORMAT_HOST, "a..b", "", "invalid value: a..b"},
		{schemav1.Format_FORMAT_HOST, "a b", "", "invalid value: a b"},
		{schemav1.Format_FORMAT_HOST, "fe80::1%eth0", "", "invalid value: fe80::1%eth0"},
		{schemav1.Format_FORMAT_HOST, "[a]", "", "invalid value: [a]"},
		{schemav1.Format_FORMAT_TARGET, "a:99999", "", "Invalid target ('a:99999'); not a valid hostname or ip address"},
		{schemav1.Format_FORMAT_TARGET, "a", "a:8000", ok},
		{schemav1.Format_FORMAT_TARGET, "[::1]:90", "", ok},
		{schemav1.Format_FORMAT_PATH, "/a%20b", "", ok},
		{schemav1.Format_FORMAT_PATH, "/a%2", "", "invalid url-encoded value: '%2'"},
		{schemav1.Format_FORMAT_PATH, "/a%zz", "", "invalid url-encoded value: '%zz'"},
		{schemav1.Format_FORMAT_PATH, "/a?b", "", "invalid path: '/a?b' (characters outside of the reserved list of RFC 3986 found)"},
		{schemav1.Format_FORMAT_ROUTE_PATH, "/é", "", ok},
		{schemav1.Format_FORMAT_ROUTE_PATH, "/a/", "", ok},
		{schemav1.Format_FORMAT_ROUTE_PATH, "/%61", "", "non-normalized path, consider use '/a' instead"},
		{schemav1.Format_FORMAT_ROUTE_PATH, "/%2f", "", "non-normalized path, consider use '/%2F' instead"},
		{schemav1.Format_FORMAT_ROUTE_PATH, "/a/./b/..", "", "non-normalized path, consider use '/a/' instead"},
		{schemav1.Format_FORMAT_ROUTE_PATH, "/..", "", "non-normalized path, consider use '/' instead"},
		{schemav1.Format_FORMAT_ROUTE_PATH, "/%00", "", ok},
		{schemav1.Format_FORMAT_ROUTE_PATH, "/a//b", "", "must not have empty segments"},
		{schemav1.Format_FORMAT_ROUTE_PATH, "~/a/(?<id>[0-9]+)$", "", ok},
		{schemav1.Format_FORMAT_ROUTE_PATH, "~a", "", "should start with: / (fixed path) or ~/ (regex path)"},
		{schemav1.Format_FORMAT_ROUTE_HOST, "*.a.com:80", "", ok},
		{schemav1.Format_FORMAT_ROUTE_HOST, "a.*:80", "", ok},
		{schemav1.Format_FORMAT_ROUTE_HOST, "*.a.*", "", "invalid wildcard: must have at most one wildcard"},
		{schemav1.Format_FORMAT_ROUTE_HOST, "a*.com", "", "invalid wildcard: must be placed at leftmost or rightmost label"},
		{schemav1.Format_FORMAT_ROUTE_HOST, "a:b", "", "invalid port number"},
		{schemav1.Format_FORMAT_SNI, "*.a.com", "", ok},
		{schemav1.Format_FORMAT_SNI, "a.*", "", ok},
		{schemav1.Format_FORMAT_SNI, "*", "", ok},
		{schemav1.Format_FORMAT_SNI, "*.a.*", "", "only one wildcard must be specified"},
		{schemav1.Format_FORMAT_SNI, "a.*.b", "", "wildcard must be leftmost or rightmost character"},
		{schemav1.Format_FORMAT_SNI, "1.2.3.4", "", "must not be an IP"},
		{schemav1.Format_FORMAT_SNI, "a:1", "", "must not have a port"},
		{schemav1.Format_FORMAT_TAG, "a b é", "", ok},
		{schemav1.Format_FORMAT_TAG, "a/b", "", "invalid tag 'a/b': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"},
		{schemav1.Format_FORMAT_HEADER_NAME, "X-A_b", "", ok},
		{schemav1.Format_FORMAT_HEADER_NAME, "a b", "", "bad header name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-'"},
		{schemav1.Format_FORMAT_UPSTREAM_NAME, "a:80", "", "Invalid name ('a:80'); no port allowed"},
		{schemav1.Format_FORMAT_UPSTREAM_NAME, "a b", "", "Invalid name ('a b'); must be a valid hostname"},
		{schemav1.Format_FORMAT_IP_OR_CIDR, "10.0.0.0/8", "", ok},
		{schemav1.Format_FORMAT_IP_OR_CIDR, "10.0.0.0/33", "", "invalid ip or cidr range: '10.0.0.0/33'"},
		{schemav1.Format_FORMAT_IP_OR_CIDR, "fe80::1%eth0", "", "invalid ip or cidr range: 'fe80::1%eth0'"},
		{schemav1.Format_FORMAT_ORIGIN, "*", "", ok},
		{schemav1.Format_FORMAT_ORIGIN, "https://a.com", "", ok},
		{schemav1.Format_FORMAT_ORIGIN, "(.*[./])?a\\.com", "", ok},
		{schemav1.Format_FORMAT_ORIGIN, "*.a.com", "", "'*.a.com' is not a valid regex"},
		{schemav1.Format_FORMAT_HOST_HEADER, "a.com:80", "", ok},
		{schemav1.Format_FORMAT_HOST_HEADER, "a b", "", "invalid hostname: a b"},
	}
	for _, test := range tests {
		stored, message := format.Check(test.format, test.value)
		want := test.stored
		if want == "" {
			want = test.value
		}
		if message != test.message || message == "" && stored != want {
			t.Errorf("%v %q: %q, %q, want %q, %q", test.format, test.value, stored, message, want, test.message)
		}
	}
}

// FuzzCheck: no value breaks a check, and what a check has made passes it unchanged.
func FuzzCheck(f *testing.F) {
	for _, value := range []string{"/a/%2e%2E/b", "~/(", "[::1]:1", "*.a:1", "-----BEGIN CERTIFICATE-----\n"} {
		f.Add(int32(4), value)
	}
	f.Fuzz(func(t *testing.T, kind int32, value string) {
		if !utf8.ValidString(value) || strings.Contains(value, "\x00") {
			return // refused before any format is asked
		}
		format1 := schemav1.Format(kind)
		stored, message := format.Check(format1, value)
		if message != "" {
			return
		}
		if again, message := format.Check(format1, stored); again != stored || message != "" {
			t.Fatalf("%v: %q became %q, which becomes %q (%s)", format1, value, stored, again, message)
		}
	})
}
