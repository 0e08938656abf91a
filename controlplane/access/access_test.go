package access_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/access"
)

func TestWhoMay(t *testing.T) {
	t.Parallel()
	const a, b = "id-of-a", "id-of-b"
	caller := func(grants ...access.Grant) access.Caller { return access.NewCaller("1", "u", grants) }
	tests := map[string]struct {
		caller                       access.Caller
		readA, writeA, readB, writeB bool
		readAll, writeAll            bool
		keyring, journal, users      bool
	}{
		"nobody":             {caller: access.Caller{}},
		"no grants":          {caller: caller()},
		"a viewer of one":    {caller: caller(access.Grant{Role: access.Viewer, Workspace: a}), readA: true},
		"an editor of one":   {caller: caller(access.Grant{Role: access.Editor, Workspace: a}), readA: true, writeA: true},
		"a viewer of all":    {caller: caller(access.Grant{Role: access.Viewer, Workspace: "*"}), readA: true, readB: true, readAll: true},
		"an editor of all":   {caller: caller(access.Grant{Role: access.Editor, Workspace: "*"}), readA: true, writeA: true, readB: true, writeB: true, readAll: true, writeAll: true},
		"a keyring-admin":    {caller: caller(access.Grant{Role: access.KeyringAdmin, Workspace: "*"}), keyring: true, journal: true},
		"the host":           {caller: access.Host(), keyring: true, users: true},
		"the one-time token": {caller: access.First()},
		"a super-admin": {
			caller: caller(access.Grant{Role: access.SuperAdmin, Workspace: "*"}),
			readA:  true, writeA: true, readB: true, writeB: true, readAll: true, writeAll: true, keyring: true, journal: true, users: true,
		},
		"a super-admin of one workspace is none": {caller: caller(access.Grant{Role: access.SuperAdmin, Workspace: a})},
		"a keyring-admin of one is none":         {caller: caller(access.Grant{Role: access.KeyringAdmin, Workspace: a})},
		"an unknown role":                        {caller: caller(access.Grant{Role: "root", Workspace: "*"})},
		"a role nowhere":                         {caller: caller(access.Grant{Role: access.Editor})},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := test.caller
			got := []bool{
				c.May(access.Read, a), c.May(access.Update, a), c.May(access.Read, b), c.May(access.Delete, b),
				c.May(access.Read, access.Everywhere), c.May(access.Create, access.Everywhere), c.Keyring(), c.Journal(), c.Users(),
			}
			want := []bool{test.readA, test.writeA, test.readB, test.writeB, test.readAll, test.writeAll, test.keyring, test.journal, test.users}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("read A, write A, read B, write B, read all, write all, keyring, journal, users (-want +got):\n%s", diff)
			}
			if c.May(access.Read, "") {
				t.Error("the workspace that is none can be read")
			}
		})
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		token := access.NewToken()
		if seen[token] || !access.LooksLikeToken(token) {
			t.Fatalf("a token that is no new one: seen %t", seen[token])
		}
		seen[token] = true
	}
	good := access.NewToken()
	for name, text := range map[string]string{
		"empty": "", "a prefix": "kgt_", "shorter": good[:len(good)-1], "longer": good + "A", "without its prefix": good[4:],
		"other letters": "kgt_" + strings.Repeat("!", 43), "a space": good + " ", "bits that do not count": "kgt_" + strings.Repeat("A", 42) + "B",
	} {
		if access.LooksLikeToken(text) {
			t.Errorf("%s looks like a token", name)
		}
	}
	a := access.Authority{Name: "u", TokenHash: access.HashToken(good), Enabled: true}
	now := time.Unix(1e9, 999_999_999)
	if !a.Proves(good, now) || a.Proves(access.NewToken(), now) || a.Proves("", now) {
		t.Error("the wrong tokens prove")
	}
	if a.Expires = now.Unix() + 1; !a.Proves(good, now) || a.Proves(good, now.Add(1)) {
		t.Error("a token does not prove until it expires")
	}
	if a.Enabled = false; a.Proves(good, now) {
		t.Error("a user who is not enabled proves")
	}
}

// TestAuthorityForm holds the stored form.
func TestAuthorityForm(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("ab", 32)
	a := access.Authority{Name: "u", TokenHash: hash, Enabled: true, Grants: []access.Grant{
		{Role: access.Viewer, Workspace: "b"}, {Role: access.SuperAdmin, Workspace: "*"}, {Role: access.Viewer, Workspace: "b"},
	}}
	text, err := a.Encode()
	want := `{"name":"u","token_hash":"` + hash + `","enabled":true,"grants":[{"role":"super-admin","workspace":"*"},{"role":"viewer","workspace":"b"}]}`
	if err != nil || text != want {
		t.Errorf("%s, %v; want %s", text, err, want)
	}
	for _, bad := range []string{"", "{}", "null", "[]", `{"name":"u"}`, `{"name":"","token_hash":"` + hash + `"}`, `{"name":"u","token_hash":"ab"}`} {
		if _, err := access.ParseAuthority(bad); err == nil {
			t.Errorf("%q is taken for an authority", bad)
		}
	}
}

func FuzzParseAuthority(f *testing.F) {
	f.Add(`{"name":"u","token_hash":"` + strings.Repeat("ab", 32) + `","enabled":true,"grants":[{"role":"viewer","workspace":"*"}]}`)
	f.Add(`{"name":"u","grants":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		a, err := access.ParseAuthority(text)
		if err != nil {
			return
		}
		again, err := a.Encode()
		if err != nil {
			t.Fatal(err)
		}
		b, err := access.ParseAuthority(again)
		if err != nil || b.Name != a.Name || b.TokenHash != a.TokenHash || b.Enabled != a.Enabled {
			t.Errorf("%q becomes %q: %v", text, again, err)
		}
	})
}

func hashes(n byte) (h [32]byte) { h[0] = n; return h }

func TestFailures(t *testing.T) {
	t.Parallel()
	f, now := access.NewFailures(), time.Unix(1e9, 0)
	guesser, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	f.Accepted(hashes(1))
	for range 10 {
		if wait := f.Held(guesser, hashes(9), now); wait != 0 {
			t.Fatalf("held for %v before ten were wrong", wait)
		}
		f.Failed(guesser, hashes(9), now)
	}
	if wait := f.Held(guesser, hashes(9), now); wait <= 0 || wait > 6*time.Second {
		t.Errorf("after ten, held for %v", wait)
	}
	if f.Held(guesser, hashes(1), now) != 0 {
		t.Error("a token that was right is held back by what others did at its address")
	}
	if f.Held(other, hashes(9), now) != 0 {
		t.Error("another address is held back")
	}
	if f.Held(guesser, hashes(9), now.Add(6*time.Second)) != 0 {
		t.Error("still held after a pause")
	}
	f.Failed(guesser, hashes(1), now)
	if f.Held(guesser, hashes(1), now) == 0 {
		t.Error("a token that is wrong now passes because it was right")
	}
}

// A host has a whole /64: its addresses count as one.
func TestFailuresOfANetwork(t *testing.T) {
	t.Parallel()
	f, now := access.NewFailures(), time.Unix(1e9, 0)
	for i := range 10 {
		f.Failed(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}), hashes(9), now)
	}
	if f.Held(netip.MustParseAddr("2001:db8::ffff"), hashes(9), now) == 0 || f.Held(netip.MustParseAddr("2001:db8:0:1::1"), hashes(9), now) != 0 {
		t.Error("networks are not counted by their /64")
	}
	for range 10 {
		f.Failed(netip.MustParseAddr("::ffff:192.0.2.1"), hashes(9), now)
	}
	if f.Held(netip.MustParseAddr("192.0.2.1"), hashes(9), now) == 0 {
		t.Error("an IPv4 address written in IPv6 is another one")
	}
}

func TestFailuresOfAll(t *testing.T) {
	t.Parallel()
	f, now := access.NewFailures(), time.Unix(1e9, 0)
	for i := range 20_000 { // more networks than are remembered
		f.Failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), hashes(9), now)
	}
	stranger := netip.MustParseAddr("198.51.100.1")
	if f.Held(stranger, hashes(9), now) == 0 {
		t.Error("a flood from everywhere is not held back")
	}
	if f.Held(stranger, hashes(9), now.Add(-time.Hour)) == 0 {
		t.Error("a clock that goes back lets guesses pass")
	}
	if f.Held(stranger, hashes(9), now.Add(50*time.Millisecond)) != 0 {
		t.Error("still held after a pause")
	}
}
