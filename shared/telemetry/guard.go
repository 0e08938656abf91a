package telemetry

import (
	"encoding"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"google.golang.org/protobuf/proto"
)

// harmless returns the form in which a value may be written.
func harmless(value any) slog.Value {
	switch value := value.(type) {
	case nil:
		return slog.AnyValue(nil)
	case proto.Message:
		return slog.StringValue("[message " + string(value.ProtoReflect().Descriptor().FullName()) + "]")
	case error:
		return slog.StringValue(text(value, value.Error))
	case encoding.TextMarshaler:
		return slog.AnyValue(value) // addresses, times, secrets that refuse: they decide themselves
	case fmt.Stringer:
		return slog.StringValue(text(value, value.String))
	case []byte:
		return slog.StringValue(fmt.Sprintf("[%d bytes]", len(value)))
	}
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Slice, reflect.Array:
		if isPlain(v.Type().Elem()) {
			return slog.AnyValue(value)
		}
	case reflect.Map:
		if isPlain(v.Type().Key()) && isPlain(v.Type().Elem()) {
			return slog.AnyValue(guardMap(v))
		}
	default:
		if isPlain(v.Type()) {
			return slog.AnyValue(value)
		}
	}
	return typeOnly(value)
}

// text calls a method that may panic on a nil receiver. A log line is no reason to end a process.
func text(value any, method func() string) string {
	if v := reflect.ValueOf(value); v.Kind() == reflect.Pointer && v.IsNil() {
		return "<nil>"
	}
	return method()
}

// guardMap hides the values under names of secrets.
func guardMap(v reflect.Value) map[string]string {
	shown := make(map[string]string, v.Len())
	for entries := v.MapRange(); entries.Next(); {
		name := fmt.Sprint(entries.Key())
		shown[name] = fmt.Sprint(entries.Value())
		if isSecretName(nil, name) {
			shown[name] = "[redacted]"
		}
	}
	return shown
}

// isPlain reports whether values of a type hold nothing but themselves.
func isPlain(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return true // not Uint8: a slice of those is bytes, whatever it is named
	}
	return false
}

// isSecretName recognises attributes that are named after a secret's value. A name that goes on to say
// what about the secret it tells, as token_file or credential_id, is none.
func isSecretName(groups []string, key string) bool {
	all := words(strings.Join(append(slices.Clone(groups), key), "_"))
	if len(all) == 0 || slices.Contains([]string{"id", "ids", "name", "file", "path", "kind", "type", "count", "size", "state"}, all[len(all)-1]) {
		return false
	}
	for i, word := range all {
		switch word {
		case "password", "passwd", "passphrase", "secret", "secrets", "token", "tokens", "credential", "credentials",
			"authorization", "cookie", "apikey", "jwk", "pem", "plaintext", "seed", "material":
			return true
		case "key":
			if i > 0 && slices.Contains([]string{"private", "api", "secret", "encryption", "raw"}, all[i-1]) {
				return true
			}
		}
	}
	return false
}

// words splits names of every habit: client_secret, client-secret, clientSecret, X-Client-Secret.
func words(name string) (found []string) {
	var word []rune
	end := func() {
		if len(word) > 0 {
			found, word = append(found, strings.ToLower(string(word))), nil
		}
	}
	lower := false
	for _, r := range name {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			end()
			lower = false
			continue
		case unicode.IsUpper(r) && lower:
			end()
		}
		word, lower = append(word, r), unicode.IsLower(r)
	}
	end()
	return found
}
