// Package licensetext reads a license as its issuer gives it: the JSON text that Kong's tools carry about.
//
//	{"license": {"version": 1, "signature": "…", "payload": {"license_expiration_date": "2030-01-01", …}}}
//
// It reads leniently, since issuers differ in what they write: only the two objects must be there, and the date, if
// there is one, must be one. The signature is not verified: nothing depends on a license (controlplane/license says
// which one is in force).
//
// A license names its customer and holds a license key. So what is wrong with a text is said without its values.
package licensetext

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// MaxBytes is the longest license that is read.
const MaxBytes = 64 << 10

// License is what is told of a license.
type License struct {
	Date    string    // of its end, as it says it; "" when it does not
	Expires time.Time // the first moment at which it is over; zero: it says no date and does not end
}

// Parse reads a license.
func Parse(text string) (License, error) {
	if len(text) > MaxBytes {
		return License{}, fmt.Errorf("is longer than %d bytes", MaxBytes)
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	var document map[string]json.RawMessage
	if err := decoder.Decode(&document); err != nil {
		return License{}, notObject(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return License{}, errors.New("is followed by something else")
	}
	license, err := object(document, "license")
	if err != nil {
		return License{}, err
	}
	payload, err := object(license, "license.payload")
	if err != nil {
		return License{}, err
	}
	return expiring(payload)
}

// object returns the member that the last word of path names.
func object(of map[string]json.RawMessage, path string) (members map[string]json.RawMessage, err error) {
	name := path[strings.LastIndexByte(path, '.')+1:]
	raw, ok := of[name]
	if !ok {
		return nil, fmt.Errorf("has no %s", path)
	}
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return nil, fmt.Errorf("has a %s that is no JSON object", path)
	}
	return members, nil
}

// notObject says why a text is no JSON object, and not what it holds: the errors of encoding/json quote.
func notObject(err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("is no JSON: it breaks off or goes wrong at byte %d", syntax.Offset)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("is no JSON: it is empty or breaks off")
	}
	return errors.New("is no JSON object")
}

// expiring reads the date. A license counts until the end of its last day, whatever the time zone of its issuer.
func expiring(payload map[string]json.RawMessage) (License, error) {
	const path = "license.payload.license_expiration_date"
	raw, ok := payload["license_expiration_date"]
	if !ok || string(raw) == "null" {
		return License{}, nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return License{}, fmt.Errorf("has a %s that is no string", path)
	}
	if text == "" {
		return License{}, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		const lastZone = 12 * time.Hour // west of Greenwich the day ends so much later
		return License{Date: text, Expires: day.Add(24*time.Hour + lastZone)}, nil
	}
	if moment, err := time.Parse(time.RFC3339, text); err == nil && !moment.IsZero() {
		return License{Date: text, Expires: moment}, nil
	}
	return License{}, fmt.Errorf("has a %s that is no date as 2030-01-31", path)
}
