package settings_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretref"
	"github.com/keepgate/keepgate/shared/settings"
)

// secrets are settings of each kind of secret.
type secrets struct {
	Password     secret.Bytes    `key:"pg_password" file:"PasswordFile" source:"Next" help:"h"`
	PasswordFile string          `key:"-"`
	Next         settings.Source `key:"-"`
	Key          secret.Bytes    `key:"keyring_private_key" names:"file" help:"h"`
	Late         secret.Bytes    `key:"keyring_vault_token" late:"true" help:"h"`
	Token        secret.Bytes    `key:"vault_hcv_token" literal:"true" help:"h"`
	Host         string          `key:"pg_host" help:"h"`
}

// fetching is a struct that knows where references lead.
type fetching struct {
	secrets
	fetch func(ctx context.Context, loaded *settings.Loaded) error `key:"-"`
}

func (f *fetching) Fetch(ctx context.Context, loaded *settings.Loaded) error {
	return f.fetch(ctx, loaded)
}

func with(text ...string) settings.Sources { return settings.Sources{Environ: text} }

func TestReferencesWaitForTheirValues(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]secretref.Reference{
		"{vault://env/db-password}":             {Scheme: "vault", Place: "env", Secret: "db-password"},
		"{vault://env/db/password}":             {Scheme: "vault", Place: "env", Secret: "db", Field: "password"},
		"{vault://file/team/db/}":               {Scheme: "vault", Place: "file", Secret: "team/db"},
		"{vault://hcv/team/db/password}":        {Scheme: "vault", Place: "hcv", Secret: "team/db", Field: "password"},
		"{vault://hcv/team/db/password#3}":      {Scheme: "vault", Place: "hcv", Secret: "team/db", Field: "password", Version: 3},
		"{vault://hcv/a%20b/c%2Fd}":             {Scheme: "vault", Place: "hcv", Secret: "a b", Field: "c/d"},
		"{vault://anything-at-all/a/%7B%23%7D}": {Scheme: "vault", Place: "anything-at-all", Secret: "a", Field: "{#}"}, // who looks up knows which there are
	} {
		var into secrets
		loaded, err := settings.Load(&into, with("KEEPGATE_PG_PASSWORD="+text))
		if err != nil || len(loaded.References()) != 1 || len(loaded.Warnings) != 0 || into.Password.Len() != 0 || into.Next != nil || into.PasswordFile != "" {
			t.Errorf("%s: Load = %v, %+v", text, err, loaded)
			continue
		}
		r := loaded.References()[0]
		if r.Key != "pg_password" || r.Origin != "KEEPGATE_PG_PASSWORD" || r.To != want {
			t.Errorf("%s is read as %+v", text, r)
		}
		shown := "pg_password = " + strings.ReplaceAll(text, "#", `\#`) + "  # KEEPGATE_PG_PASSWORD\n"
		if !strings.Contains(loaded.Effective(), shown) {
			t.Errorf("%s: in effect is\n%s", text, loaded.Effective())
		}
		again, err := settings.Load(&secrets{}, settings.Sources{File: write(t, "keepgate.conf", shown)}) // what check prints can be written
		if err != nil || len(again.References()) != 1 || again.References()[0].To != want || len(again.Warnings) != 0 {
			t.Errorf("%s: read again: %v, %+v", text, err, again)
		}
	}
}

func TestReferencesRefused(t *testing.T) {
	t.Parallel()
	const form = "; write {vault://<env, file or hcv>/<secret>/<member>}, or give the value in a file with pg_password_file"
	const alone = "pg_password holds a reference and something else, which would be the secret as it stands; " +
		"write {vault://<env, file or hcv>/<secret>/<member>} alone, or give the value in a file with pg_password_file"
	for given, want := range map[string]string{
		"PG_PASSWORD={vault://canary}":                            "the reference names no secret: a slash and its name follow the vault or map" + form,
		"PG_PASSWORD={vault://hcv/canary/key":                     "the reference does not end with }" + form,
		"PG_PASSWORD={vault://hcv/canary/key} ":                   "the reference does not end with }" + form,
		"PG_PASSWORD={vault://hcv/canary/key}{vault://env/a}":     "the reference holds a brace: write %7B or %7D" + form,
		"PG_PASSWORD={vault://hcv/canary\x01/key}":                "the reference holds what is not printable: percent-encode it" + form,
		"PG_PASSWORD={vault://hcv/canary key}":                    "the reference holds what is not printable: percent-encode it" + form,
		"PG_PASSWORD={vault://HCV/canary/key}":                    "the vault of the reference is no kind or prefix: lower case letters, digits and dashes" + form,
		"PG_PASSWORD={vault:///canary/key}":                       "the vault of the reference is no kind or prefix: lower case letters, digits and dashes" + form,
		"PG_PASSWORD={vault://hcv/canary//key}":                   "the secret of the reference has a segment that is empty or not percent-encoded text" + form,
		"PG_PASSWORD={vault://hcv/canary/../key}":                 "the secret of the reference has a segment that is no name" + form,
		"PG_PASSWORD={vault://hcv/canary/%zz}":                    "the JSON key of the reference is not percent-encoded text" + form,
		"PG_PASSWORD={vault://hcv/canary/key#0}":                  "the version of the reference is no whole number above 0" + form,
		"PG_PASSWORD={vault://hcv/canary/key#canary}":             "the version of the reference is no whole number above 0" + form,
		"PG_PASSWORD={vault://hcv/canary/key?canary=1}":           "the reference has a parameter that is not taken, or twice: ttl, neg_ttl and resurrect_ttl are" + form,
		"PG_PASSWORD={vault://hcv/canary/key?ttl=canary}":         "ttl of the reference is no number of seconds between 1 and 100000000" + form,
		"PG_PASSWORD={vault://" + strings.Repeat("canary/", 1500): "a reference has at most 8192 bytes" + form,
		"PG_PASSWORD={kvm://canary/key}":                          "refers to a key-value map, which settings cannot" + form,
		"PG_PASSWORD={kvm://canary}":                              "the reference names no secret: a slash and its name follow the vault or map" + form,
		"PG_PASSWORD= {vault://hcv/canary/key}":                   alone,
		"PG_PASSWORD=\n{vault://hcv/canary/key}\n":                alone,
		"PG_PASSWORD='{vault://hcv/canary/key}'":                  alone,
		`PG_PASSWORD="{vault://hcv/canary/key}"`:                  alone,
		"PG_PASSWORD=http://u:{vault://hcv/canary/key}@host":      alone,
		"PG_PASSWORD=canary{kvm://map/key}":                       alone,
		"PG_PASSWORD=vault://hcv/canary/key":                      "pg_password looks like a reference and is none" + form,
		"PG_PASSWORD={VAULT://hcv/canary/key}":                    "pg_password looks like a reference and is none" + form,
		"PG_PASSWORD={ vault://hcv/canary/key }":                  "pg_password looks like a reference and is none" + form,
		"PG_PASSWORD_FILE={vault://file/canary}":                  "pg_password_file is a reference, where the path of a file belongs; give it as pg_password",
		"KEYRING_VAULT_TOKEN_FILE={vault://file/canary}":          "where the path of a file belongs; give it as keyring_vault_token",
		"KEYRING_PRIVATE_KEY={vault://canary}":                    "or give the value in a file with keyring_private_key_file",
		"VAULT_HCV_TOKEN={vault://env/canary}":                    "it is what references are looked up with; give the value in a file with vault_hcv_token_file",
		"VAULT_HCV_TOKEN_FILE={vault://env/canary}":               "it is what references are looked up with; give the value in a file with vault_hcv_token_file",
		"PG_HOST={vault://env/canary}":                            "pg_host holds a reference, which only secrets can; give the value",
	} {
		var into secrets
		loaded, err := settings.Load(&into, with("KEEPGATE_"+given))
		if fault.KindOf(err) != fault.Invalid || loaded != nil || !strings.HasSuffix(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%.60q: Load = %v, want %q", given, err, want)
		}
		if into.Password.Len()+into.Key.Len()+into.Late.Len()+into.Token.Len() != 0 || into.Host != "" {
			t.Errorf("%.60q: something became the value", given)
		}
	}
}

func TestTimesOfReferencesCountInEntitiesAlone(t *testing.T) {
	t.Parallel()
	loaded, err := settings.Load(&secrets{}, with("KEEPGATE_PG_PASSWORD={vault://hcv/db/password?ttl=5&neg_ttl=6&resurrect_ttl=7#2}"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"pg_password: the times of a reference count in entities alone"}, loaded.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if got := loaded.References()[0].To.String(); got != "{vault://hcv/db/password#2}" {
		t.Errorf("the reference is %s", got)
	}
}

func TestAnotherReferenceIsAChange(t *testing.T) {
	t.Parallel()
	load := func(text string) *settings.Loaded {
		t.Helper()
		loaded, err := settings.Load(&secrets{}, with("KEEPGATE_PG_PASSWORD="+text))
		if err != nil {
			t.Fatal(err)
		}
		return loaded
	}
	const one, two = "{vault://hcv/db/password#1}", "{vault://hcv/db/password#2}"
	for name, test := range map[string]struct {
		before, after string
		want          []settings.Setting
	}{
		"none":            {one, one, nil},
		"its version":     {one, two, []settings.Setting{{Key: "pg_password", Value: two, Origin: "KEEPGATE_PG_PASSWORD"}}},
		"to a password":   {one, "hunter2", []settings.Setting{{Key: "pg_password", Value: "[secret]", Origin: "KEEPGATE_PG_PASSWORD"}}},
		"from a password": {"hunter2", two, []settings.Setting{{Key: "pg_password", Value: two, Origin: "KEEPGATE_PG_PASSWORD"}}},
	} {
		if diff := cmp.Diff(test.want, load(test.before).Changed(load(test.after))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Whoever writes a reference into the file of a secret means that somebody follows it.
func TestFilesOfSecretsHoldNoReference(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"{vault://hcv/canary/key}", "{vault://hcv/canary/key}\n", "  {vault://canary", "u:{kvm://canary/key}"} {
		for _, key := range []string{"pg_password", "keyring_vault_token", "vault_hcv_token"} {
			var into secrets
			path := write(t, "secret", text)
			_, err := settings.Load(&into, with("KEEPGATE_"+strings.ToUpper(key)+"_FILE="+path))
			if fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "canary") || into.Password.Len()+into.Late.Len()+into.Token.Len() != 0 ||
				!strings.HasSuffix(err.Error(), key+"_file names a file that holds a reference, which nobody would follow: '"+path+"'; write the secret itself into it") {
				t.Errorf("%s: Load of %q = %v", key, text, err)
			}
		}
	}
}

// bound is a command's flags with a settings file.
func bound(t *testing.T, into any, text string) *settings.Flags {
	t.Helper()
	command := &cobra.Command{Use: "run", RunE: func(*cobra.Command, []string) error { return nil }}
	flags, err := settings.Bind(command, into)
	if err != nil {
		t.Fatal(err)
	}
	command.SetArgs([]string{"-c", write(t, "keepgate.conf", text)})
	if err := command.Execute(); err != nil {
		t.Fatal(err)
	}
	return flags
}

// later is a source of nothing.
type later struct{}

func (later) Known() (secret.Bytes, error) { return secret.Bytes{}, errors.New("later") }
func (later) Newest(context.Context) (secret.Bytes, error) {
	return secret.Bytes{}, errors.New("later")
}

const twoReferences = "pg_password = {vault://hcv/db/password}\nkeyring_private_key = {vault://file/key.pem}\n"

func TestLoadLooksReferencesUp(t *testing.T) {
	t.Parallel()
	values := map[string]string{"pg_password": "hunter2", "keyring_private_key": "-----BEGIN PRIVATE KEY-----"}
	next := later{}
	asked := 0
	var into fetching
	into.fetch = func(ctx context.Context, loaded *settings.Loaded) error {
		asked++
		if ctx != t.Context() || len(loaded.References()) != 2 {
			t.Errorf("Fetch of %+v", loaded.References())
		}
		for _, r := range loaded.References() {
			r.Give(secret.Take([]byte(values[r.Key])), next)
		}
		return nil
	}
	flags := bound(t, &into, twoReferences)
	if _, err := flags.Read(); err != nil || asked != 0 || into.Password.Len()+into.Key.Len() != 0 || into.Next != nil {
		t.Fatalf("Read = %v, asked %d times", err, asked)
	}
	loaded, err := flags.Load(t.Context())
	if err != nil || asked != 1 || reveal(into.Password) != values["pg_password"] || reveal(into.Key) != values["keyring_private_key"] {
		t.Fatalf("Load = %v, asked %d times", err, asked)
	}
	if _, err := into.Next.Known(); err == nil || err.Error() != "later" {
		t.Errorf("the source of the next values gives %v", err)
	}
	if shown := fmt.Sprintf("%+v %+v %s", into.secrets, loaded, loaded.Effective()); strings.Contains(shown, "hunter2") {
		t.Errorf("the password shows in %s", shown)
	}
}

// An empty password would be taken for none.
func TestWhereNothingLooksUpReferencesStop(t *testing.T) {
	t.Parallel()
	var plain secrets
	if _, err := bound(t, &plain, twoReferences).Load(t.Context()); fault.KindOf(err) != fault.Internal || fault.SubjectOf(err) != "pg_password" {
		t.Errorf("Load into what is no Fetcher = %v", err)
	}
	if _, err := bound(t, &plain, "pg_password = hunter2\n").Load(t.Context()); err != nil {
		t.Errorf("Load of no reference = %v", err)
	}
	var into fetching
	down := errors.New("the vault is down")
	into.fetch = func(context.Context, *settings.Loaded) error { return down }
	if _, err := bound(t, &into, twoReferences).Load(t.Context()); !errors.Is(err, down) {
		t.Errorf("Load = %v, want the vault's error", err)
	}
	if _, err := bound(t, &into, "pg_password = hunter2\n").Load(t.Context()); err != nil {
		t.Errorf("without a reference the vault is asked: %v", err)
	}
	if _, err := bound(t, &into, "pg_password = {vault://canary}\n").Load(t.Context()); fault.KindOf(err) != fault.Invalid || errors.Is(err, down) {
		t.Errorf("with bad settings the vault is asked: %v", err)
	}
}

// What could be a path would be read.
func TestASecretThatMayNameItsFileTakesPEMAlone(t *testing.T) {
	t.Parallel()
	var into secrets
	loaded, err := settings.Load(&into, with("KEEPGATE_KEYRING_PRIVATE_KEY={vault://env/a}", "KEEPGATE_PG_PASSWORD={vault://env/b}"))
	if err != nil {
		t.Fatal(err)
	}
	for text, wrong := range map[string]string{
		"/etc/passwd": "it is no PEM text", "": "it is no PEM text", "LS0tLS1CRUdJTiBQ": "it is no PEM text", "-----BEGIN RSA PRIVATE KEY-----\nMIIE": "",
	} {
		for _, r := range loaded.References() {
			want := wrong
			if r.Key == "pg_password" {
				want = ""
			}
			if got := r.Wrong(secret.Take([]byte(text))); got != want {
				t.Errorf("%s of %q is wrong: %q, want %q", r.Key, text, got, want)
			}
		}
	}
}

// FuzzSecretText: what begins as a reference is one or is refused, and what is refused is not repeated.
func FuzzSecretText(f *testing.F) {
	for _, seed := range [][2]string{
		{"", ""},
		{"{vault://", "}"},
		{"{vault://env/", "}"},
		{"{vault://hcv/team/", "/password#2}"},
		{"{vault://file/", "/}"},
		{"{vault://hcv/a/", "?ttl=1&neg_ttl=2}"},
		{"{kvm://map/", "}"},
		{"{vault://", ""},
		{" {vault://env/", "}"},
		{"{vault://env/%", "}"},
		{"{vault://env/a#", "}"},
		{"{vault://env/a?", "=1}"},
		{"{vault:", "//env/a}"},
		{"{vault://hcv/{", "}}"},
		{"x{vault://env/", "}"},
		{"{VAULT://env/", "}"},
		{"{vault://env/\xff", "\x00}"},
		{"{vault://hcv/../", "/..}"},
	} {
		f.Add(seed[0], seed[1])
	}
	const canary = "Canary4711"
	f.Fuzz(func(t *testing.T, before, after string) {
		text := before + canary + after
		refers := secretref.Within([]byte(text))
		nearly := strings.Contains(strings.ToLower(text), "vault://") || strings.Contains(strings.ToLower(text), "kvm://")
		var into secrets
		loaded, err := settings.Load(&into, with("KEEPGATE_PG_PASSWORD="+text))
		switch {
		case err != nil:
			if !refers && !nearly || strings.Contains(err.Error(), canary) || into.Password.Len() != 0 {
				t.Fatalf("Load of %q = %v", text, err)
			}
		case refers:
			if into.Password.Len() != 0 || len(loaded.References()) != 1 {
				t.Fatalf("%q became the secret itself", text)
			}
			to := loaded.References()[0].To
			if again, err := secretref.Parse(to.String()); err != nil || again != to || to.Scheme != secretref.Vault {
				t.Fatalf("%q is %+v, which reads as %+v, %v", text, to, again, err)
			}
		case reveal(into.Password) != text || len(loaded.References()) != 0:
			t.Fatalf("%q became another secret", text)
		}
		if err == nil && !refers && strings.Contains(loaded.Effective(), canary) {
			t.Fatal("the secret shows")
		}
	})
}
