package telemetry_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/telemetry"
)

const sensitive = "hunter2"

type holder struct{ Message *wrapperspb.StringValue }

type valuer struct{}

func (valuer) LogValue() slog.Value {
	return slog.GroupValue(slog.Any("inner", wrapperspb.String(sensitive)), slog.String("password", sensitive))
}

func loggers(w *bytes.Buffer) map[string]*slog.Logger {
	return map[string]*slog.Logger{
		"text": telemetry.NewLogger(w, telemetry.Options{}),
		"json": telemetry.NewLogger(w, telemetry.Options{JSON: true}),
	}
}

func TestNothingSensitiveIsWritten(t *testing.T) {
	t.Parallel()
	message := wrapperspb.String(sensitive)
	structure, err := structpb.NewStruct(map[string]any{"a": sensitive})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(*slog.Logger){
		"a message":                       func(l *slog.Logger) { l.Info("m", "entity", message) },
		"a message with inner messages":   func(l *slog.Logger) { l.Info("m", "entity", structure) },
		"a message by With":               func(l *slog.Logger) { l.With("entity", message).Info("m") },
		"a message in a group":            func(l *slog.Logger) { l.WithGroup("g").Info("m", slog.Group("h", "entity", message)) },
		"a slice of messages":             func(l *slog.Logger) { l.Info("m", "entities", []*wrapperspb.StringValue{message}) },
		"a map of messages":               func(l *slog.Logger) { l.Info("m", "entities", map[string]any{"a": message}) },
		"a struct that holds one":         func(l *slog.Logger) { l.Info("m", "entity", holder{message}) },
		"a pointer to such a struct":      func(l *slog.Logger) { l.Info("m", "entity", &holder{message}) },
		"what logs itself":                func(l *slog.Logger) { l.Info("m", "entity", valuer{}) },
		"bytes":                           func(l *slog.Logger) { l.Info("m", "body", []byte(sensitive)) },
		"named bytes":                     func(l *slog.Logger) { l.Info("m", "body", bytes.NewBufferString(sensitive).Bytes()) },
		"an array of bytes":               func(l *slog.Logger) { l.Info("m", "body", [7]byte([]byte(sensitive))) },
		"a pointer to a string":           func(l *slog.Logger) { s := sensitive; l.Info("m", "value", &s) },
		"an attribute named password":     func(l *slog.Logger) { l.Info("m", "password", sensitive) },
		"named in camel case":             func(l *slog.Logger) { l.Info("m", "clientSecret", sensitive) },
		"named as a header":               func(l *slog.Logger) { l.Info("m", "X-Api-Key", sensitive) },
		"named by its group":              func(l *slog.Logger) { l.Info("m", slog.Group("credential", "value", sensitive)) },
		"an error named as a secret":      func(l *slog.Logger) { l.Info("m", "token", errors.New(sensitive)) },
		"a secret in a map of texts":      func(l *slog.Logger) { l.Info("m", "config", map[string]string{"pg_password": sensitive}) },
		"secret bytes":                    func(l *slog.Logger) { l.Info("m", "value", secret.Take([]byte(sensitive))) },
		"a struct that holds a secret":    func(l *slog.Logger) { l.Info("m", "value", struct{ P string }{sensitive}) },
		"a slice of structs":              func(l *slog.Logger) { l.Info("m", "value", []struct{ P string }{{sensitive}}) },
		"a message that is a nil pointer": func(l *slog.Logger) { l.Info("m", "entity", (*wrapperspb.StringValue)(nil)) },
	}
	for name, log := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for form := range loggers(nil) {
				var out bytes.Buffer
				log(loggers(&out)[form])
				// Bytes print as numbers too: 104 117 is "hu".
				if got := out.String(); got == "" || strings.Contains(got, sensitive) || strings.Contains(got, "104 117") || strings.Contains(got, "104,117") || strings.Contains(got, "aHVudGVy") {
					t.Errorf("%s: %q", form, got)
				}
			}
		})
	}
}

func TestAMessageIsShownByItsName(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	telemetry.NewLogger(&out, telemetry.Options{}).Info("m", "entity", wrapperspb.String(sensitive))
	if !strings.Contains(out.String(), `entity="[message google.protobuf.StringValue]"`) {
		t.Errorf("%q", out.String())
	}
}

func TestWhatTellsNothingIsWritten(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	var noError *time.ParseError
	telemetry.NewLogger(&out, telemetry.Options{}).Info("m",
		"key", "pg_host", "key_id", "8zgITLQh", "token_file", "/run/token", "credential_id", "abc", "tokens_count", 7, "password", true,
		"err", errors.New("it broke"), "addr", netip.MustParseAddr("::1"), "list", []string{"a", "b"}, "took", time.Second,
		"labels", map[string]string{"region": "eu"}, "none", nil, "typed", noError, "monkey", "banana")
	for _, want := range []string{
		"key=pg_host", "key_id=8zgITLQh", "token_file=/run/token", "credential_id=abc", "tokens_count=7", "password=true", `err="it broke"`,
		"addr=::1", `list="[a b]"`, "took=1s", "labels=map[region:eu]", "none=<nil>", "typed=<nil>", "monkey=banana",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %s", out.String(), want)
		}
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	names := []string{"debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"}
	previous := slog.Level(-100)
	for _, name := range names {
		level, err := telemetry.ParseLevel(name)
		if err != nil || level <= previous || telemetry.LevelName(level) != name {
			t.Errorf("ParseLevel(%q) = %v, %v; named %s", name, level, err, telemetry.LevelName(level))
		}
		previous = level
	}
	if _, err := telemetry.ParseLevel("loud"); err == nil {
		t.Error("an unknown level was accepted")
	}
	var out bytes.Buffer
	var least slog.LevelVar
	log := telemetry.NewLogger(&out, telemetry.Options{Level: &least})
	least.Set(telemetry.LevelNotice)
	log.Info("quiet")
	log.Log(t.Context(), telemetry.LevelNotice, "heard")
	if got := out.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "level=notice msg=heard") {
		t.Errorf("%q", got)
	}
}
