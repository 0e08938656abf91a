// Package telemetry sets up the process's own log.
//
// The log cannot be trusted to callers alone, so its handler stands in the way of what must not be written:
// a proto message is shown by its name only, whatever holds one and every other structure by its type only,
// and an attribute that is named like a secret by a placeholder. That is the second line of defence; the
// first is that nobody hands such things to a logger. Access logs are not written here: the data plane's
// engine has an encoder of its own.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/keepgate/keepgate/shared/fault"
)

// The levels that slog has no name for. Their order, and the names in the log, are those of Kong and nginx.
const (
	LevelNotice = slog.LevelInfo + 2
	LevelCrit   = slog.LevelError + 4
	LevelAlert  = slog.LevelError + 8
	LevelEmerg  = slog.LevelError + 12
)

// Options tunes a logger. The zero value logs text from level info.
type Options struct {
	Level slog.Leveler // a *slog.LevelVar can be changed while the process runs
	JSON  bool
}

// NewLogger makes a logger that writes one line an entry to w.
func NewLogger(w io.Writer, options Options) *slog.Logger {
	handler := &slog.HandlerOptions{Level: options.Level, ReplaceAttr: guard}
	if options.JSON {
		return slog.New(slog.NewJSONHandler(w, handler))
	}
	return slog.New(slog.NewTextHandler(w, handler))
}

// ParseLevel returns the level of a name as log_level has it.
func ParseLevel(name string) (slog.Level, error) {
	switch strings.ToLower(name) {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "notice":
		return LevelNotice, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	case "crit":
		return LevelCrit, nil
	case "alert":
		return LevelAlert, nil
	case "emerg":
		return LevelEmerg, nil
	}
	return 0, fault.Newf(fault.Invalid, "telemetry.ParseLevel", "log_level", "no level is named %q", name)
}

// LevelName is the name of the level at or below l.
func LevelName(l slog.Level) string {
	switch {
	case l < slog.LevelInfo:
		return "debug"
	case l < LevelNotice:
		return "info"
	case l < slog.LevelWarn:
		return "notice"
	case l < slog.LevelError:
		return "warn"
	case l < LevelCrit:
		return "error"
	case l < LevelAlert:
		return "crit"
	case l < LevelEmerg:
		return "alert"
	}
	return "emerg"
}

// guard decides about every attribute before it is written.
func guard(groups []string, attr slog.Attr) slog.Attr {
	if level, ok := attr.Value.Any().(slog.Level); ok && attr.Key == slog.LevelKey && len(groups) == 0 {
		return slog.String(slog.LevelKey, LevelName(level))
	}
	switch attr.Value.Kind() {
	case slog.KindString, slog.KindAny:
	default:
		return attr // numbers, times and truths tell nothing
	}
	if isSecretName(groups, attr.Key) {
		return slog.String(attr.Key, "[redacted]")
	}
	if attr.Value.Kind() == slog.KindAny {
		attr.Value = harmless(attr.Value.Any())
	}
	return attr
}

// typeOnly shows what a value is and nothing of what it holds.
func typeOnly(value any) slog.Value { return slog.StringValue(fmt.Sprintf("[%T]", value)) }
