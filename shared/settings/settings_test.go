package settings_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/values"
)

type sample struct {
	Process  settings.Process `section:"Process"`
	Host     string           `key:"pg_host" default:"127.0.0.1" help:"h"`
	Port     int              `key:"pg_port" default:"5432" min:"1" max:"65535" help:"h"`
	Verify   bool             `key:"pg_ssl_verify" default:"off" help:"h"`
	Password secret.Bytes     `key:"pg_password" help:"h"`
	Token    secret.Bytes     `key:"keyring_vault_token" file:"Path" late:"true" help:"h"`
	Path     string           `key:"-"`
	Timeout  time.Duration    `key:"pg_timeout" default:"5000ms" unit:"ms" min:"1ms" help:"h"`
	Trusted  []string         `key:"ssl_trusted_certificate" kong:"lua_ssl_trusted_certificate" default:"system" path:"file" help:"h"`
	Strategy string           `key:"keyring_strategy" oneof:"local|cluster" help:"h"`
	Log      string           `key:"proxy_access_log" default:"logs/access.log" path:"prefix" help:"h"`
	Listen   values.Listen    `key:"proxy_listen" default:"off" help:"h"`
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func reveal(b secret.Bytes) (text string) {
	b.Reveal(func(data []byte) { text = string(data) })
	return text
}

func TestStrongerSourcesWin(t *testing.T) {
	t.Parallel()
	file := write(t, "keepgate.conf", "pg_host = file\npg_port = 1\npg_timeout = 1\nkeyring_strategy = local\npg_ssl_verify = on\n")
	var into sample
	loaded, err := settings.Load(&into, settings.Sources{
		File:    file,
		Environ: []string{"KONG_PG_HOST=kong", "KEEPGATE_PG_HOST=own", "KONG_PG_PORT=2", "KEEPGATE_PG_TIMEOUT=2s", "KEEPGATE_PG_SSL_VERIFY="},
		Flags:   map[string]string{"pg_timeout": "3s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{into.Host, into.Port, into.Timeout, into.Strategy, into.Verify}
	if diff := cmp.Diff([]any{"own", 2, 3 * time.Second, "local", true}, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	origins := map[string]string{}
	for _, setting := range loaded.Settings {
		origins[setting.Key] = setting.Origin
	}
	want := map[string]string{
		"prefix": "default", "log_level": "default", "log_format": "default", "pg_host": "KEEPGATE_PG_HOST", "pg_port": "KONG_PG_PORT",
		"pg_ssl_verify": file + ":5", "pg_password": "default", "pg_timeout": "--pg-timeout", "ssl_trusted_certificate": "default",
		"keyring_vault_token": "default", "keyring_strategy": file + ":4", "proxy_access_log": "default", "proxy_listen": "default",
	}
	if diff := cmp.Diff(want, origins); diff != "" {
		t.Errorf("origins (-want +got):\n%s", diff)
	}
}

// The lines are those that users of Kong have in their files.
func TestKongConf(t *testing.T) {
	t.Parallel()
	file := write(t, "kong.conf", `
pg_ssl_verify = on
lua_ssl_trusted_certificate=system,/path/to/ca/chain.crt
pg_host = '10.0.0.1'
nginx_worker_processes = auto
role = control_plane
something_unheard_of = 1
pg_timeout = 2500
`)
	var into sample
	loaded, err := settings.Load(&into, settings.Sources{File: file, Environ: []string{"KONG_NO_SUCH_THING=1", "KONG_VITALS=off"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{true, []string{"system", "/path/to/ca/chain.crt"}, "10.0.0.1", 2500 * time.Millisecond},
		[]any{into.Verify, into.Trusted, into.Host, into.Timeout}); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	want := []string{"nginx_worker_processes", "role", "something_unheard_of", "KONG_NO_SUCH_THING", "KONG_VITALS"}
	if len(loaded.Warnings) != len(want) {
		t.Fatalf("warnings: %q", loaded.Warnings)
	}
	for i, name := range want {
		if !strings.HasPrefix(loaded.Warnings[i], name+" has no meaning here") {
			t.Errorf("warning %q, want one about %s", loaded.Warnings[i], name)
		}
	}
}

func TestEveryFaultIsReportedOnce(t *testing.T) {
	t.Parallel()
	file := write(t, "keepgate.conf", "pg_prot = 1\nno equals sign\npg_ssl_verify = maybe\nlog_level = x\nnginx_user = www\n")
	var into sample
	_, err := settings.Load(&into, settings.Sources{
		File: file,
		Environ: []string{
			"KEEPGATE_PG_PORT=x", "KEEPGATE_PG_HOTS=h", "KEEPGATE_PG_TIMEOUT=-1s", "KEEPGATE_KEYRING_STRATEGY=paper", "KEEPGATE_PROXY_LISTEN=8000",
			"KEEPGATE_ADMIN_LISTEN=127.0.0.1:1", // the other plane's
		},
	})
	if fault.KindOf(err) != fault.Invalid {
		t.Fatalf("Load = %v, want kind invalid", err)
	}
	want := strings.ReplaceAll(`settings: 9 things to repair:
  FILE:2: the line has no "="; write it as "key = value", or begin it with # as a comment
  FILE:1: pg_prot is no setting; did you mean pg_port?
  KEEPGATE_PG_HOTS is no setting; did you mean KEEPGATE_PG_HOST?
  FILE:4: log_level has an invalid value: 'x' (debug, info, notice, warn, error, crit, alert, emerg); write one of these words
  KEEPGATE_PG_PORT: pg_port is not a number: 'x'; write a whole number from 1 to 65535
  FILE:3: pg_ssl_verify is not a boolean: 'maybe'; write on or off
  KEEPGATE_PG_TIMEOUT: pg_timeout has an invalid value: '-1s'; write a duration, 1ms or more
  KEEPGATE_KEYRING_STRATEGY: keyring_strategy has an invalid value: 'paper' (local, cluster); write one of these words
  KEEPGATE_PROXY_LISTEN: proxy_listen has an invalid value: '8000'; "8000" is not <address>:<port>`, "FILE", file)
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		sources settings.Sources
		problem string
	}{
		"number beyond the bounds":    {settings.Sources{Environ: []string{"KEEPGATE_PG_PORT=65536"}}, "pg_port has an invalid value: '65536'"},
		"number beyond its type":      {settings.Sources{Environ: []string{"KEEPGATE_PG_PORT=9223372036854775808"}}, "pg_port is not a number"},
		"duration without sense":      {settings.Sources{Environ: []string{"KEEPGATE_PG_TIMEOUT=soon"}}, "pg_timeout is not a duration"},
		"duration that overflows":     {settings.Sources{Environ: []string{"KEEPGATE_PG_TIMEOUT=999999999999d"}}, "pg_timeout is not a duration"},
		"not a number as duration":    {settings.Sources{Environ: []string{"KEEPGATE_PG_TIMEOUT=NaN"}}, "pg_timeout is not a duration"},
		"a key instead of a path":     {settings.Sources{Flags: map[string]string{"ssl_trusted_certificate": "-----BEGIN PRIVATE KEY-----"}}, "instead of a path"},
		"a reference to nothing":      {settings.Sources{Environ: []string{"KONG_PG_PASSWORD={vault://env}"}}, "pg_password: the reference names no secret"},
		"a reference to a map":        {settings.Sources{Environ: []string{"KONG_PG_PASSWORD={kvm://map/key}"}}, "pg_password refers to a key-value map"},
		"a reference as a file":       {settings.Sources{Environ: []string{"KEEPGATE_PG_PASSWORD_FILE={vault://env/x}"}}, "give it as pg_password"},
		"a reference for no secret":   {settings.Sources{Environ: []string{"KONG_PG_HOST={vault://env/x}"}}, "pg_host holds a reference, which only secrets can"},
		"a reference behind a text":   {settings.Sources{Environ: []string{"KONG_PG_HOST=a,{vault://env/x}"}}, "pg_host holds a reference, which only secrets can"},
		"two names for one thing":     {settings.Sources{Environ: []string{"KONG_LUA_SSL_TRUSTED_CERTIFICATE=a", "KONG_SSL_TRUSTED_CERTIFICATE=b"}}, "mean the same setting"},
		"secret and its file":         {settings.Sources{Environ: []string{"KEEPGATE_PG_PASSWORD=a", "KEEPGATE_PG_PASSWORD_FILE=/b"}}, "mean the same setting"},
		"secret file that is gone":    {settings.Sources{Environ: []string{"KEEPGATE_PG_PASSWORD_FILE=/no/such/file"}}, "no readable file"},
		"secret file that never ends": {settings.Sources{Environ: []string{"KEEPGATE_PG_PASSWORD_FILE=/dev/zero"}}, "no readable file"},
		"settings file that is gone":  {settings.Sources{File: "/no/such/keepgate.conf"}, "cannot be read"},
		"an unknown flag":             {settings.Sources{Flags: map[string]string{"pg_hots": "x"}}, "--pg-hots is no setting"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := settings.Load(&sample{}, test.sources)
			if err == nil || !strings.Contains(err.Error(), test.problem) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("Load = %v, want one fault about %q", err, test.problem)
			}
		})
	}
}

func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	const password = "hunter2-and-more"
	file := write(t, "keepgate.conf", "pg_password = "+password+"\n")
	var into sample
	loaded, err := settings.Load(&into, settings.Sources{File: file})
	if err != nil {
		t.Fatal(err)
	}
	if reveal(into.Password) != password {
		t.Error("the password was not read")
	}
	if shown := fmt.Sprintf("%+v %+v %s", into, loaded, loaded.Effective()); strings.Contains(shown, password) {
		t.Errorf("the password shows in %s", shown)
	}
	if len(loaded.Warnings) != 1 || !strings.Contains(loaded.Warnings[0], "pg_password_file") {
		t.Errorf("warnings: %q, want one that names pg_password_file", loaded.Warnings)
	}
	_, err = settings.Load(&into, settings.Sources{Environ: []string{"KEEPGATE_PG_PASSWORD={vault://" + password + "}"}})
	if err == nil || strings.Contains(err.Error(), password) {
		t.Errorf("Load = %v, want an error without the value", err)
	}
}

// A file that whoever uses it reads again may come after the start; any other is there, and nobody else's to read.
func TestFilesOfSecretsThatAreNotUsable(t *testing.T) {
	t.Parallel()
	open, empty, later := write(t, "open", "canary"), write(t, "empty", "\n"), filepath.Join(t.TempDir(), "later")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]string{
		open:  {open + "'; chmod 600 " + open, "open to others (mode 0644)"},
		empty: {"is an empty file", "is an empty file"},
		later: {"no readable file", "no such file"},
	} {
		var into sample
		if _, err := settings.Load(&into, settings.Sources{Environ: []string{"KEEPGATE_PG_PASSWORD_FILE=" + path}}); err == nil ||
			!strings.Contains(err.Error(), want[0]) || strings.Contains(err.Error(), "canary") || into.Password.Len() > 0 {
			t.Errorf("pg_password_file: Load = %v, want %q", err, want[0])
		}
		loaded, err := settings.Load(&into, settings.Sources{Environ: []string{"KEEPGATE_KEYRING_VAULT_TOKEN_FILE=" + path}})
		if err != nil || len(loaded.Warnings) != 1 || !strings.Contains(loaded.Warnings[0], "keyring_vault_token_file cannot be used (") ||
			!strings.Contains(loaded.Warnings[0], want[1]) || into.Token.Len() > 0 || into.Path != path {
			t.Errorf("keyring_vault_token_file: Load = %v, %q", err, loaded.Warnings)
		}
	}
	var into sample
	loaded, err := settings.Load(&into, settings.Sources{Environ: []string{"KEEPGATE_KEYRING_VAULT_TOKEN_FILE=" + write(t, "token", "s.token\n")}})
	if err != nil || len(loaded.Warnings) != 0 || reveal(into.Token) != "s.token" {
		t.Errorf("Load = %v, %v", err, loaded)
	}
}

func TestSecretFromItsFile(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"bare": "s#cret", "ending its line": "s#cret\n", "ending it as Windows does": "s#cret\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var into sample
			_, err := settings.Load(&into, settings.Sources{
				// The weaker source's inline value gives way to the stronger one's file.
				Environ: []string{"KONG_PG_PASSWORD=other", "KEEPGATE_PG_PASSWORD_FILE=" + write(t, "password", text)},
			})
			if err != nil || reveal(into.Password) != "s#cret" {
				t.Fatalf("Load = %v, password of %d bytes", err, into.Password.Len())
			}
		})
	}
	if _, err := settings.Load(&sample{}, settings.Sources{Environ: []string{"KEEPGATE_PG_PASSWORD_FILE=" + write(t, "password", "\n")}}); err == nil {
		t.Error("an empty secret file was accepted")
	}
}

func TestASecretThatNamesItsFileStandsInNoSettingsFile(t *testing.T) {
	t.Parallel()
	key := write(t, "key.pem", "not looked at here")
	for name, test := range map[string]struct {
		text  string
		warns bool
	}{
		"a path":                 {text: key},
		"the secret itself":      {text: "aHVudGVyMg==", warns: true},
		"a path that is no file": {text: filepath.Dir(key), warns: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var into struct {
				Key secret.Bytes `key:"private_key" names:"file" help:"A key."`
			}
			loaded, err := settings.Load(&into, settings.Sources{File: write(t, "keepgate.conf", "private_key = "+test.text+"\n")})
			if err != nil || reveal(into.Key) != test.text {
				t.Fatalf("Load = %v, a key of %d bytes", err, into.Key.Len())
			}
			if warns := len(loaded.Warnings) != 0; warns != test.warns {
				t.Errorf("warnings: %q", loaded.Warnings)
			}
		})
	}
}

func TestPathsBelowThePrefix(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{"": "/pre/logs/access.log", "a.log": "/pre/a.log", "/dev/stdout": "/dev/stdout", "off": "off"} {
		var into sample
		_, err := settings.Load(&into, settings.Sources{Environ: []string{"KEEPGATE_PROXY_ACCESS_LOG=" + given}, Flags: map[string]string{"prefix": "/pre"}})
		if err != nil || into.Log != want {
			t.Errorf("%q: %q, %v; want %q", given, into.Log, err, want)
		}
	}
}

func TestKubernetesServiceLinksAreNoSettings(t *testing.T) {
	t.Parallel()
	var into sample
	loaded, err := settings.Load(&into, settings.Sources{Environ: []string{
		"KEEPGATE_SERVICE_HOST=10.0.0.1", "KEEPGATE_SERVICE_PORT=8001", "KEEPGATE_SERVICE_PORT_ADMIN=8001", "KEEPGATE_PORT=tcp://10.0.0.1:8001",
		"KEEPGATE_PORT_8001_TCP=tcp://10.0.0.1:8001", "KEEPGATE_PORT_8001_TCP_ADDR=10.0.0.1", "KONG_PROXY_SERVICE_HOST=10.0.0.2",
	}})
	if err != nil || len(loaded.Warnings) != 0 {
		t.Fatalf("Load = %v, %v", err, loaded)
	}
}

func TestTheFirstFileThatExistsIsRead(t *testing.T) {
	t.Parallel()
	var into sample
	loaded, err := settings.Load(&into, settings.Sources{Search: []string{"/no/such/file", write(t, "keepgate.conf", "pg_port = 7")}})
	if err != nil || into.Port != 7 || loaded.File == "" {
		t.Fatalf("Load = %v, port %d", err, into.Port)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	var into sample
	command := &cobra.Command{Use: "run", RunE: func(*cobra.Command, []string) error { return nil }}
	flags, err := settings.Bind(command, &into)
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, "keepgate.conf", "pg_host = file\npg_port = 7")
	command.SetArgs([]string{"-c", file, "-p", "/pre", "--pg-host=flag"})
	if err := command.Execute(); err != nil {
		t.Fatal(err)
	}
	if _, err := flags.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if into.Host != "flag" || into.Port != 7 || into.Process.Prefix != "/pre" {
		t.Errorf("host %q, port %d, prefix %q", into.Host, into.Port, into.Process.Prefix)
	}
	if command.Flags().Lookup("pg-password") != nil || command.Flags().Lookup("pg-password-file") == nil {
		t.Error("a secret has a flag of its own, or its file has none")
	}
}

func TestHelpTellsEverySetting(t *testing.T) {
	t.Parallel()
	for _, plane := range planes() {
		names, err := settings.Names(plane)
		if err != nil {
			t.Fatal(err)
		}
		help, err := settings.Help(plane)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if !strings.Contains(help, "  "+name+" (") && !strings.HasPrefix(name, "lua_") && !strings.HasSuffix(name, "_file") {
				t.Errorf("%T: --help does not tell %s", plane, name)
			}
		}
	}
}

// FuzzLoad: no file makes Load panic, and a secret's value is in no message.
func FuzzLoad(f *testing.F) {
	f.Add("pg_password = aVerySecretWord\npg_port = x", "1")
	f.Add("pg_password = 'aVerySecretWord' x", "5s")
	f.Add("pg_password = {vault://aVerySecretWord}", "")
	f.Fuzz(func(t *testing.T, text, value string) {
		path := filepath.Join(t.TempDir(), "keepgate.conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var into sample
		_, err := settings.Load(&into, settings.Sources{File: path, Environ: []string{"KEEPGATE_PG_TIMEOUT=" + value}})
		inPassword := strings.HasPrefix(text, "pg_password") && strings.Count(text, "aVerySecretWord") == 1
		if err != nil && inPassword && strings.Contains(err.Error(), "aVerySecretWord") && !strings.Contains(value, "aVerySecretWord") {
			t.Fatalf("the secret shows in: %v", err)
		}
	})
}
