package secretref

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxPlace      = 255
	maxSeconds    = 100_000_000
	maxVersion    = 1<<31 - 1
	parameterTTL  = "ttl"
	parameterNeg  = "neg_ttl"
	parameterLast = "resurrect_ttl"
)

// Parse reads a text that is one reference.
func Parse(text string) (Reference, error) {
	r := Reference{Scheme: Vault}
	switch {
	case len(text) > MaxBytes:
		return Reference{}, fmt.Errorf("a reference has at most %d bytes", MaxBytes)
	case !Meant(text):
		return Reference{}, errors.New("a reference begins with {vault:// or {kvm://")
	case text[len(text)-1] != '}':
		return Reference{}, errors.New("the reference does not end with }")
	case !Is(text):
		return Reference{}, errors.New("the reference holds a brace: write %7B or %7D")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unprintable):
		return Reference{}, errors.New("the reference holds what is not printable: percent-encode it")
	}
	opening := openVault
	if strings.HasPrefix(text, openKVM) {
		r.Scheme, opening = KVM, openKVM
	}
	place, rest, found := strings.Cut(text[len(opening):len(text)-1], "/")
	if !found {
		return Reference{}, errors.New("the reference names no secret: a slash and its name follow the vault or map")
	}
	read := r.vault
	if r.Scheme == KVM {
		read = r.kvm
	}
	if err := read(place, rest); err != nil {
		return Reference{}, err
	}
	return r, nil
}

// unprintable: spaces are seen by nobody at the end of a name.
func unprintable(c rune) bool { return !unicode.IsGraphic(c) || unicode.IsSpace(c) }

func (r *Reference) kvm(place, rest string) (err error) {
	if strings.ContainsAny(place+rest, "?#") {
		return errors.New("a reference to a map takes no parameters and no version: write %3F or %23 within a key")
	}
	if r.Place, err = decode(place); err != nil || len(r.Place) > maxPlace {
		return errors.New("the reference names no map")
	}
	if r.Secret, err = decode(rest); err != nil {
		return errors.New("the reference names no key of the map")
	}
	return nil
}

func (r *Reference) vault(place, rest string) error {
	if !isPrefix(place) {
		return errors.New("the vault of the reference is no kind or prefix: lower case letters, digits and dashes")
	}
	r.Place = place
	rest, fragment, versioned := strings.Cut(rest, "#")
	path, query, asks := strings.Cut(rest, "?")
	if err := r.path(path); err != nil {
		return err
	}
	if asks {
		if err := r.parameters(query); err != nil {
			return err
		}
	}
	if versioned {
		n, err := strconv.Atoi(fragment)
		if err != nil || n < 1 || n > maxVersion || strconv.Itoa(n) != fragment {
			return errors.New("the version of the reference is no whole number above 0")
		}
		r.Version = n
	}
	return nil
}

// isPrefix is the form that vault entities' prefixes have; kinds have it too.
func isPrefix(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9' && i > 0, c == '-' && i > 0 && i < len(text)-1:
		default:
			return false
		}
	}
	return len(text) > 1 && len(text) <= maxPlace
}

// path reads the secret and the JSON key, which is the last of several segments.
func (r *Reference) path(path string) error {
	segments := strings.Split(path, "/")
	if last := len(segments) - 1; last > 0 {
		if segments[last] != "" {
			field, err := decode(segments[last])
			if err != nil {
				return errors.New("the JSON key of the reference is not percent-encoded text")
			}
			r.Field = field
		}
		segments = segments[:last]
	}
	for i, segment := range segments {
		plain, err := decode(segment)
		switch {
		case err != nil:
			return errors.New("the secret of the reference has a segment that is empty or not percent-encoded text")
		case plain == "." || plain == ".." || strings.Contains(plain, "/") || strings.ContainsFunc(plain, unicode.IsControl):
			return errors.New("the secret of the reference has a segment that is no name")
		}
		segments[i] = plain
	}
	r.Secret = strings.Join(segments, "/")
	return nil
}

func (r *Reference) parameters(query string) error {
	known := map[string]*time.Duration{parameterTTL: &r.TTL, parameterNeg: &r.NegativeTTL, parameterLast: &r.ResurrectTTL}
	for one := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(one, "=")
		into := known[name]
		if into == nil {
			return errors.New("the reference has a parameter that is not taken, or twice: ttl, neg_ttl and resurrect_ttl are")
		}
		seconds, err := strconv.Atoi(value)
		if err != nil || seconds < 1 || seconds > maxSeconds || strconv.Itoa(seconds) != value {
			return fmt.Errorf("%s of the reference is no number of seconds between 1 and %d", name, maxSeconds)
		}
		*into = time.Duration(seconds) * time.Second
		delete(known, name)
	}
	return nil
}

// decode undoes percent-encoding; what is empty is refused.
func decode(text string) (string, error) {
	plain, err := url.PathUnescape(text)
	if err != nil || plain == "" || !utf8.ValidString(plain) {
		return "", errors.New("no text")
	}
	return plain, nil
}

// escape percent-encodes what has a meaning in references. slashes: these too.
func escape(text string, slashes bool) string {
	var b strings.Builder
	for _, c := range text {
		if strings.ContainsRune("{}%?#", c) || unprintable(c) || slashes && c == '/' {
			for _, one := range []byte(string(c)) {
				fmt.Fprintf(&b, "%%%02X", one)
			}
			continue
		}
		b.WriteRune(c)
	}
	return b.String()
}

// writeTimes writes the parameters, the version and the end.
func (r Reference) writeTimes(b *strings.Builder) {
	sign := "?"
	for _, one := range []struct {
		name  string
		value time.Duration
	}{{parameterTTL, r.TTL}, {parameterNeg, r.NegativeTTL}, {parameterLast, r.ResurrectTTL}} {
		if one.value != 0 {
			b.WriteString(sign + one.name + "=" + strconv.FormatInt(int64(one.value/time.Second), 10))
			sign = "&"
		}
	}
	if r.Version != 0 {
		b.WriteString("#" + strconv.Itoa(r.Version))
	}
	b.WriteString("}")
}
