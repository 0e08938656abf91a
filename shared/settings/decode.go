package settings

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretref"
)

// decode writes every field and returns the settings in effect. Paths below the prefix come last, since
// they need the prefix.
func (l *loader) decode() []Setting {
	for _, f := range l.fields {
		one, isGiven := l.given[f.key]
		if !isGiven {
			one = given{f.key, f.fallback, originDefault}
		}
		if problem, remedy := l.write(f, one); problem != "" {
			l.fault(f.key, one.origin, problem, remedy)
		}
	}
	settings := make([]Setting, 0, len(l.fields))
	for _, f := range l.fields {
		if f.path == "prefix" {
			f.value.SetString(l.prefixed(f.value.String()))
		}
		origin := originDefault
		if one, isGiven := l.given[f.key]; isGiven {
			origin = one.origin
		}
		settings = append(settings, Setting{f.key, f.show(), origin})
	}
	return settings
}

// write reads the text into the field. It returns what is wrong, in Kong's words where Kong has some, and
// what to do about it.
func (l *loader) write(f *field, one given) (problem, remedy string) {
	if f.kind == kindSecret {
		return l.writeSecret(f, one)
	}
	if secretref.Within([]byte(one.text)) {
		return f.key + " holds a reference, which only secrets can", "give the value"
	}
	switch f.kind {
	case kindText:
		return f.writeText(one.text)
	case kindBoolean:
		switch one.text {
		case "on", "true":
			f.value.SetBool(true)
		case "off", "false", "":
			f.value.SetBool(false)
		default:
			return fmt.Sprintf("%s is not a boolean: '%s'", f.key, one.text), "write on or off"
		}
	case kindNumber:
		return f.writeNumber(one.text)
	case kindDuration:
		return f.writeDuration(one.text)
	case kindList:
		return f.writeList(one.text)
	default:
		if err := f.value.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(one.text)); err != nil {
			if hides, ok := errors.AsType[interface {
				error
				HidesText() bool
			}](err); ok && hides.HidesText() {
				return f.key + " has an invalid value, which may hold a secret", err.Error()
			}
			return fmt.Sprintf("%s has an invalid value: '%s'", f.key, one.text), err.Error()
		}
		return f.notClear()
	}
	return "", ""
}

// notClear refuses ssl where nothing would come of it.
func (f *field) notClear() (problem, remedy string) {
	listen, ok := f.value.Interface().(interface{ AnyTLS() bool })
	if !f.clear || !ok || !listen.AnyTLS() {
		return "", ""
	}
	return f.key + " is not available with ssl in this version", "leave ssl out, and listen where only your own machines reach it"
}

func (f *field) writeText(text string) (problem, remedy string) {
	if problem := f.notOneOf(text); problem != "" {
		if f.key == "database" && text == "off" { // Kong's way without a database
			return problem, "a control plane needs a database: sqlite or postgres"
		}
		return problem, "write one of these words"
	}
	if problem := f.notPath(text); problem != "" {
		return problem, "write it to a file and give the file's path"
	}
	if isPrivateKey(text) {
		return f.holdsPrivateKey()
	}
	f.value.SetString(text)
	return "", ""
}

func (f *field) holdsPrivateKey() (problem, remedy string) {
	return f.key + " holds a private key", "take it away from where it stands; only its public half belongs here"
}

// isPrivateKey recognises one in PEM, and in base64 of PEM, before it is shown as the setting's value.
func isPrivateKey(text string) bool {
	const mark = "PRIVATE KEY-----"
	decoded, _ := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), "")) // as far as it is base64
	return strings.Contains(text, mark) || bytes.Contains(decoded, []byte(mark))
}

// notPath recognises a certificate or key, or its base64 form, where a path belongs. Kong takes both; here
// they would end up in process listings and shell histories.
func (f *field) notPath(text string) string {
	const begin, beginBase64 = "-----BEGIN", "LS0tLS1CRUdJT"
	if f.path == "" || !strings.Contains(text, begin) && !strings.HasPrefix(text, beginBase64) {
		return ""
	}
	return f.key + " holds a certificate or key instead of a path"
}

func (f *field) notOneOf(text string) string {
	if len(f.oneOf) == 0 || slices.Contains(f.oneOf, text) || text == "" && f.fallback == "" {
		return ""
	}
	return fmt.Sprintf("%s has an invalid value: '%s' (%s)", f.key, text, strings.Join(f.oneOf, ", "))
}

func (f *field) writeNumber(text string) (problem, remedy string) {
	if text == "" {
		return "", ""
	}
	number, err := strconv.ParseInt(text, 10, f.value.Type().Bits())
	if err != nil {
		return fmt.Sprintf("%s is not a number: '%s'", f.key, text), "write a whole number" + f.bounds()
	}
	if !f.within(number, func(bound string) (int64, error) { return strconv.ParseInt(bound, 10, 64) }) {
		return fmt.Sprintf("%s has an invalid value: '%s'", f.key, text), "write a whole number" + f.bounds()
	}
	f.value.SetInt(number)
	return "", ""
}

func (f *field) writeDuration(text string) (problem, remedy string) {
	if text == "" {
		return "", ""
	}
	duration, err := parseDuration(text, f.unit)
	if err != nil {
		return fmt.Sprintf("%s is not a duration: '%s'", f.key, text), "write a number with a unit (ms, s, m, h, d) as in 90s; a bare number counts in " + f.unit
	}
	inUnits := func(bound string) (int64, error) {
		limit, err := parseDuration(bound, f.unit)
		return int64(limit), err
	}
	if duration < 0 || !f.within(int64(duration), inUnits) {
		return fmt.Sprintf("%s has an invalid value: '%s'", f.key, text), "write a duration" + f.bounds()
	}
	f.value.SetInt(int64(duration))
	return "", ""
}

// parseDuration reads "90s", "14d" and Kong's bare numbers, which count in unit.
func parseDuration(text, unit string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		text += unit
	}
	if days, found := strings.CutSuffix(text, "d"); found {
		number, err := strconv.ParseInt(days, 10, 32)
		if err != nil || number > 36500 {
			return 0, fmt.Errorf("%q is no number of days", days)
		}
		return time.Duration(number) * 24 * time.Hour, nil
	}
	return time.ParseDuration(text)
}

func (f *field) writeList(text string) (problem, remedy string) {
	var list []string
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		if problem := f.notPath(word); problem != "" {
			return problem, "write it to a file and give the file's path"
		}
		if isPrivateKey(word) {
			return f.holdsPrivateKey()
		}
		if problem := f.notOneOf(word); problem != "" {
			return problem, "write some of these words, separated by commas"
		}
		list = append(list, word)
	}
	f.value.Set(reflect.ValueOf(list))
	return "", ""
}

func (f *field) within(value int64, parse func(bound string) (int64, error)) bool {
	if low, err := parse(f.min); f.min != "" && (err != nil || value < low) {
		return false
	}
	high, err := parse(f.max)
	return f.max == "" || err == nil && value <= high
}

func (f *field) bounds() string {
	switch {
	case f.min != "" && f.max != "":
		return " from " + f.min + " to " + f.max
	case f.min != "":
		return ", " + f.min + " or more"
	case f.max != "":
		return ", " + f.max + " or less"
	}
	return ""
}

// show prints the value in effect as it could be written in a file.
func (f *field) show() string {
	switch value := f.value.Interface().(type) {
	case secret.Bytes:
		if f.reference.Scheme != "" {
			return f.reference.String()
		}
		if value.Len() == 0 {
			return ""
		}
		return fmt.Sprint(value)
	case bool:
		if value {
			return "on"
		}
		return "off"
	case []string:
		return strings.Join(value, ",")
	case fmt.Stringer:
		return value.String()
	default:
		return fmt.Sprint(value)
	}
}
