package iprestriction

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func TestContains(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		list    []string
		in, out []string
	}{
		"nothing":            {nil, nil, []string{"1.2.3.4", "::"}},
		"an address":         {[]string{"1.2.3.4"}, []string{"1.2.3.4", "::ffff:1.2.3.4"}, []string{"1.2.3.3", "1.2.3.5", "::1.2.3.4"}},
		"a network":          {[]string{"10.0.0.0/8"}, []string{"10.0.0.0", "10.255.255.255"}, []string{"9.255.255.255", "11.0.0.0"}},
		"not on its border":  {[]string{"10.1.2.3/8"}, []string{"10.0.0.0"}, nil},
		"networks that meet": {[]string{"10.0.1.0/24", "10.0.0.0/24", "10.0.0.5"}, []string{"10.0.0.0", "10.0.1.255"}, []string{"10.0.2.0"}},
		"one in another":     {[]string{"10.0.0.0/8", "10.1.0.0/16"}, []string{"10.200.0.0"}, []string{"11.0.0.0"}},
		"all of IPv4":        {[]string{"0.0.0.0/0"}, []string{"0.0.0.0", "255.255.255.255"}, []string{"::", "::1"}},
		"all of IPv6":        {[]string{"::/0"}, []string{"::", "ffff::"}, []string{"0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"}},
		"IPv6":               {[]string{"2001:db8::/32"}, []string{"2001:db8::1", "2001:db8::1%eth0"}, []string{"2001:db9::"}},
		"IPv4 in IPv6":       {[]string{"::ffff:10.0.0.0/104", "::ffff:1.2.3.4"}, []string{"10.9.9.9", "1.2.3.4"}, []string{"11.0.0.0", "::ffff:11.0.0.0"}},
		"the last ones":      {[]string{"255.255.255.255", "::"}, []string{"255.255.255.255", "::"}, []string{"::1"}},
	}
	for name, test := range tests {
		set, err := parse(test.list)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, addr := range test.in {
			if !set.contains(netip.MustParseAddr(addr)) {
				t.Errorf("%s: %s is not in %v", name, addr, set)
			}
		}
		for _, addr := range test.out {
			if set.contains(netip.MustParseAddr(addr)) {
				t.Errorf("%s: %s is in %v", name, addr, set)
			}
		}
	}
	for _, bad := range []string{"", "a", "10.0.0.0/33", "10.0.0/8", "fe80::1%eth0", "fe80::%eth0/10", "1.2.3.4/-1"} {
		if set, err := parse([]string{bad}); err == nil {
			t.Errorf("%q is %v", bad, set)
		}
	}
}

// A set holds what one of its networks holds.
func TestSetsAreTheirNetworks(t *testing.T) {
	t.Parallel()
	addr := rapid.Custom(func(t *rapid.T) netip.Addr {
		b := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 127, 128, 255}), 4, 4).Draw(t, "bytes")
		if rapid.Bool().Draw(t, "IPv6") {
			return netip.AddrFrom16([16]byte{15: b[3], 14: b[2], 1: b[1], 0: b[0]})
		}
		return netip.AddrFrom4([4]byte(b))
	})
	prefix := rapid.Custom(func(t *rapid.T) netip.Prefix {
		a := addr.Draw(t, "addr")
		return netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits"))
	})
	rapid.Check(t, func(t *rapid.T) {
		prefixes := rapid.SliceOfN(prefix, 0, 8).Draw(t, "prefixes")
		texts := make([]string, len(prefixes))
		for i, p := range prefixes {
			texts[i] = p.String()
		}
		set, err := parse(texts)
		if err != nil {
			t.Fatal(err)
		}
		a := addr.Draw(t, "asked")
		want := false
		for _, p := range prefixes {
			want = want || p.Contains(a)
		}
		if got := set.contains(a); got != want {
			t.Fatalf("%s in %v: %v, want %v (%v)", a, texts, got, want, set)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("10.0.0.0/8")
	f.Add("::ffff:1.2.3.4/100")
	f.Fuzz(func(t *testing.T, text string) {
		set, err := parse([]string{text})
		if err == nil && (len(set) != 1 || set[0].last.Less(set[0].first)) {
			t.Fatalf("%q: %v", text, set)
		}
	})
}
