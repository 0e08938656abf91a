package kmsv1_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/encryption/kmsv1"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/e2e/kmsplugin"
	"github.com/keepgate/keepgate/e2e/kmsplugin/control"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
)

var (
	_ encryption.Provider = (*kmsv1.Provider)(nil)
	_ kmsv1.Plugin        = (*kmsclient.V1)(nil)
)

var home = aead.Place{Workspace: "w", Table: "keyauth_credentials", Row: "r", Field: "key"}

const mark = "k8s:enc:kms:v1:prov"

// over makes a provider over a plugin, as the control plane does.
func over(t *testing.T, p *kmsplugin.Plugin, timeout time.Duration, o kmsv1.Options) *kmsv1.Provider {
	t.Helper()
	client, err := kmsclient.NewV1(kmsclient.Options{Name: "prov", Endpoint: p.Endpoint(), Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	provider, err := kmsv1.New("prov", client, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { provider.Close(); client.Close() })
	return provider
}

func sealed(t *testing.T, p *kmsv1.Provider, plaintext string) string {
	t.Helper()
	text, err := p.Seal(home, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func wantOpen(t *testing.T, p *kmsv1.Provider, text, want string) {
	t.Helper()
	if opened, err := p.Open(home, text); err != nil || opened != want {
		t.Errorf("Open = %q, %v", opened, err)
	}
}

// wantAbsent checks that err is that of a provider whose plugin does not help, and says each of the words.
func wantAbsent(t *testing.T, err error, words ...string) {
	t.Helper()
	if fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "key/"+mark {
		t.Errorf("error = %v, want kind %v and the subject key/%s", err, fault.Unavailable, mark)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error = %q, which does not say %q", err, word)
		}
	}
}

func TestWhatIsSealedOpensAtItsPlaceAlone(t *testing.T) {
	t.Parallel()
	p := over(t, kmsplugin.Start(t, t.TempDir()), patience, kmsv1.Options{})
	name := rapid.StringMatching(`[a-z/]{0,3}`)
	places := rapid.Custom(func(t *rapid.T) aead.Place {
		return aead.Place{Workspace: name.Draw(t, "workspace"), Table: name.Draw(t, "table"), Row: name.Draw(t, "row"), Field: name.Draw(t, "field")}
	})
	rapid.Check(t, func(t *rapid.T) {
		here, there, plaintext := places.Draw(t, "here"), places.Draw(t, "there"), rapid.String().Draw(t, "plaintext")
		text, err := p.Seal(here, plaintext)
		if err != nil || record.MarkOf(text) != mark || !strings.HasPrefix(text, p.Prefix()) || record.PrefixOf(mark) != p.Prefix() {
			t.Fatalf("Seal = %q, %v", text, err)
		}
		if opened, err := p.Open(here, text); err != nil || opened != plaintext {
			t.Fatalf("Open = %q, %v", opened, err)
		}
		if opened, err := p.Open(there, text); there != here && (fault.KindOf(err) != fault.Corrupt || opened != "") {
			t.Fatalf("elsewhere: Open = %q, %v, want kind %v", opened, err, fault.Corrupt)
		}
	})
	if name, err := p.Mark(); name != mark || err != nil {
		t.Errorf("Mark = %q, %v", name, err)
	}
}

// Every sign of a text counts: what was changed anywhere does not open, whoever notices.
func TestAChangedTextDoesNotOpen(t *testing.T) {
	t.Parallel()
	plugin := kmsplugin.Start(t, t.TempDir())
	p, text := over(t, plugin, patience, kmsv1.Options{}), ""
	text = sealed(t, p, "a secret")
	for at := range text {
		for _, sign := range []byte("A9+=\n ") {
			changed := text[:at] + string(sign) + text[at+1:]
			if changed == text {
				continue
			}
			opened, err := p.Open(home, changed)
			// A changed wrapped key is what the plugin refuses, as it refuses a key that it forgot.
			if kind := fault.KindOf(err); kind != fault.Corrupt && kind != fault.Unavailable || opened != "" {
				t.Errorf("%q at %d: Open = %q, %v", sign, at, opened, err)
			}
		}
		if opened, err := p.Open(home, text[:at]); err == nil {
			t.Errorf("cut to %d: Open = %q", at, opened)
		}
	}
	if opened, err := p.Open(home, text+"\n"); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("with a line's end: Open = %q, %v", opened, err)
	}
	wantOpen(t, p, text, "a secret")
}

// A write is one Encrypt; a read is one Decrypt, unless the key is in the cache.
// watched counts what a provider tells of one test's goroutine.
type watched struct{ sealed, opened, missed, generated int }

func (w *watched) Arrived(direction string) {
	if direction == "to_storage" {
		w.sealed++
	} else {
		w.opened++
	}
}
func (w *watched) Missed()                 { w.missed++ }
func (w *watched) Generated(time.Duration) { w.generated++ }

func TestHowOftenThePluginIsAsked(t *testing.T) {
	t.Parallel()
	plugin := kmsplugin.Start(t, t.TempDir())
	var seen watched
	writer := over(t, plugin, patience, kmsv1.Options{CacheSize: 2, Watch: &seen})
	one, two, three := sealed(t, writer, "1"), sealed(t, writer, "2"), sealed(t, writer, "3")
	wantOpen(t, writer, two, "2")
	wantOpen(t, writer, three, "3")
	if calls := plugin.State().Calls; calls[control.V1Encrypt] != 3 || calls[control.V1Decrypt] != 0 {
		t.Fatalf("calls = %v, want three encryptions alone", calls)
	}
	wantOpen(t, writer, one, "1") // takes the place of two
	wantOpen(t, writer, three, "3")
	if n := plugin.Calls(control.V1Decrypt); n != 1 {
		t.Errorf("%d decryptions, want that of the first value alone", n)
	}
	wantOpen(t, writer, two, "2")
	if n := plugin.Calls(control.V1Decrypt); n != 2 {
		t.Errorf("%d decryptions, want one more", n)
	}
	if seen != (watched{sealed: 3, opened: 5, missed: 2, generated: 3}) {
		t.Errorf("the watcher saw %+v", seen)
	}
	if held, room := writer.Cached(); held != 2 || room != 2 {
		t.Errorf("Cached = %d of %d", held, room)
	}
	forgetful := over(t, plugin, patience, kmsv1.Options{CacheSize: -1})
	for range 3 {
		wantOpen(t, forgetful, one, "1")
	}
	if n := plugin.Calls(control.V1Decrypt); n != 5 {
		t.Errorf("%d decryptions, want one for each read without a cache", n)
	}
	writer.Close()
	if held, _ := writer.Cached(); held != 0 {
		t.Errorf("%d keys are left in a closed cache", held)
	}
}

func TestBadPlugins(t *testing.T) {
	t.Parallel()
	plugin := kmsplugin.Start(t, t.TempDir())
	text := sealed(t, over(t, plugin, patience, kmsv1.Options{}), "x")
	refusing := func(method control.Method) control.Faults {
		return control.Faults{Refuse: map[control.Method]control.Refusal{method: {Code: uint32(codes.PermissionDenied), Message: "no"}}}
	}
	reads := map[string]struct {
		faults control.Faults
		kind   fault.Kind
		says   string
	}{
		"refuses":        {refusing(control.V1Decrypt), fault.Unavailable, "PermissionDenied"},
		"another key":    {control.Faults{Plaintext: "wrong"}, fault.Corrupt, "answers for another key"},
		"half a key":     {control.Faults{Plaintext: "short"}, fault.Unavailable, "wrong length"},
		"nothing":        {control.Faults{Plaintext: "empty"}, fault.Unavailable, "decrypts to nothing"},
		"speaks another": {control.Faults{V1Version: "v2"}, fault.Unavailable, "v1beta1"},
	}
	for name, test := range reads {
		plugin.Break(func(f *control.Faults) { *f = test.faults })
		p := over(t, plugin, patience, kmsv1.Options{})
		opened, err := p.Open(home, text)
		if fault.KindOf(err) != test.kind || !strings.Contains(fmt.Sprint(err), test.says) || opened != "" {
			t.Errorf("%s: Open = %q, %v", name, opened, err)
		}
		plugin.Mend()
		if opened, err := p.Open(home, text); err != nil || opened != "x" { // nothing wrong was kept
			t.Errorf("%s, mended: Open = %q, %v", name, opened, err)
		}
	}
	for name, faults := range map[string]control.Faults{
		"refuses": refusing(control.V1Encrypt), "no ciphertext": {CipherSize: -1}, "a ciphertext too long": {CipherSize: 1 << 17},
	} {
		plugin.Break(func(f *control.Faults) { *f = faults })
		p := over(t, plugin, patience, kmsv1.Options{})
		text, err := p.Seal(home, "x")
		wantAbsent(t, err)
		if text != "" {
			t.Errorf("%s: Seal = %q", name, text)
		}
		if err := p.Check(t.Context()); err == nil {
			t.Errorf("%s: Check is content", name)
		}
		if name, err := p.Mark(); name != mark || err != nil { // it answers: the next one may succeed
			t.Errorf("%s: Mark = %q, %v", name, name, err)
		}
	}
	p := over(t, plugin, patience, kmsv1.Options{})
	plugin.Break(func(f *control.Faults) { *f = control.Faults{Plaintext: "wrong"} })
	if err := p.Check(t.Context()); fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "kms/prov" {
		t.Errorf("Check of a plugin that gives back something else = %v", err)
	}
	plugin.Mend()
	if err := p.Check(t.Context()); err != nil {
		t.Errorf("Check = %v", err)
	}
	plugin.Forget("key-1")
	_, err := p.Open(home, text)
	wantAbsent(t, err, "NotFound")
}

func TestAKeyThatWasRotatedStillOpens(t *testing.T) {
	t.Parallel()
	plugin := kmsplugin.Start(t, t.TempDir())
	text := sealed(t, over(t, plugin, patience, kmsv1.Options{}), "x")
	plugin.Rotate("key-2")
	plugin.Restart()
	p := over(t, plugin, patience, kmsv1.Options{})
	wantOpen(t, p, text, "x")
	wantOpen(t, p, sealed(t, p, "y"), "y")
}

// While the plugin is away what is cached still opens, the rest says what to do, and it heals by itself.
func TestAnOutage(t *testing.T) {
	t.Parallel()
	plugin := kmsplugin.Start(t, t.TempDir())
	other := sealed(t, over(t, plugin, patience, kmsv1.Options{}), "other")
	p := over(t, plugin, brief, kmsv1.Options{Pause: time.Hour})
	var text string
	for until := time.Now().Add(patience); text == "" && time.Now().Before(until); {
		if err := p.Check(t.Context()); err == nil {
			text, _ = p.Seal(home, "x")
		}
	}
	plugin.Kill()
	wantOpen(t, p, text, "x")
	_, err := p.Open(home, other)
	for until := time.Now().Add(patience); !errors.Is(err, kmsclient.ErrNoAnswer) && time.Now().Before(until); { // it may find the connection that broke
		_, err = p.Open(home, other)
	}
	wantAbsent(t, err, "nobody listens")
	_, err = p.Seal(home, "y")
	wantAbsent(t, err, "nobody listens")
	_, err = p.Mark()
	wantAbsent(t, err, "nobody listens")
	plugin.Start()
	_, err = p.Open(home, other)
	wantAbsent(t, err, "nobody listens") // within the pause
	for until := time.Now().Add(patience); p.Check(t.Context()) != nil && time.Now().Before(until); {
	}
	if name, err := p.Mark(); name != mark || err != nil {
		t.Errorf("after the outage: Mark = %q, %v", name, err)
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a:b", "a b", "ä", "a/b", strings.Repeat("x", 65)} {
		if _, err := kmsv1.New(name, nil, kmsv1.Options{}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("New(%q) = %v, want kind %v", name, err, fault.Invalid)
		}
	}
	if _, err := kmsv1.New(strings.Repeat("x", 61)+"A.-", nil, kmsv1.Options{}); err != nil {
		t.Error(err)
	}
}

const (
	patience = 30 * time.Second
	brief    = 300 * time.Millisecond
)
