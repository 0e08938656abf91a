package licensetext_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/licensetext"
)

// full is a license as issuers write them.
const full = `{"license":{"payload":{"admin_seats":"5","customer":"ACME CANARY","dataplanes":"5","license_creation_date":"2017-07-20",` +
	`"license_expiration_date":"2030-01-31","license_key":"CANARY_KEY","product_subscription":"Enterprise","support_plan":"None"},` +
	`"signature":"CANARY6985968131533a967fcc721244a979948b1066967f1e9cd65dbd8eeabe060fc32d894a2945f5e4a03c1cd2198c74e058ac63d28b045c2f1fcec95877bd790e1b","version":1}}`

func TestWhatIsALicense(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text, date string
		last       string // a moment at which it counts
		over       string // one at which it does not
	}{
		"as issuers write them": {full, "2030-01-31", "2030-01-31T23:59:59-12:00", "2030-02-01T12:00:00Z"},
		"white space":           {" \n" + full + "\n", "2030-01-31", "", "2030-02-01T12:00:00Z"},
		"a moment":              {`{"license":{"payload":{"license_expiration_date":"2030-01-31T10:00:00Z"}}}`, "2030-01-31T10:00:00Z", "2030-01-31T09:59:59Z", "2030-01-31T10:00:00Z"},
		"no date":               {`{"license":{"payload":{}}}`, "", "9999-01-01T00:00:00Z", ""},
		"a date of null":        {`{"license":{"payload":{"license_expiration_date":null}}}`, "", "9999-01-01T00:00:00Z", ""},
		"an empty date":         {`{"license":{"payload":{"license_expiration_date":""}}}`, "", "9999-01-01T00:00:00Z", ""},
		"more than is known":    {`{"license":{"payload":{"x":[1,{"y":2}]},"z":3},"w":null}`, "", "9999-01-01T00:00:00Z", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			license, err := licensetext.Parse(test.text)
			if err != nil || license.Date != test.date {
				t.Fatalf("Parse = %+v, %v; want date %q", license, err, test.date)
			}
			counts := func(at string) bool {
				moment, err := time.Parse(time.RFC3339, at)
				return err == nil && (license.Expires.IsZero() || moment.Before(license.Expires))
			}
			if test.last != "" && !counts(test.last) || test.over != "" && counts(test.over) {
				t.Errorf("it ends at %v", license.Expires)
			}
		})
	}
}

func TestWhatIsNone(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, says string }{
		"nothing":               {"", "is no JSON: it is empty or breaks off"},
		"not JSON":              {"CANARY", "is no JSON: it breaks off or goes wrong at byte 1"},
		"cut off":               {full[:len(full)-1], "is no JSON: it is empty or breaks off"},
		"a list":                {"[]", "is no JSON object"},
		"a string":              {`"CANARY"`, "is no JSON object"},
		"null":                  {"null", "has no license"},
		"two":                   {full + full, "is followed by something else"},
		"something after":       {full + " CANARY", "is followed by something else"},
		"no license":            {`{"licence":{}}`, "has no license"},
		"a license of text":     {`{"license":"CANARY"}`, "has a license that is no JSON object"},
		"a license of null":     {`{"license":null}`, "has a license that is no JSON object"},
		"no payload":            {`{"license":{"version":1}}`, "has no license.payload"},
		"a payload of text":     {`{"license":{"payload":"CANARY"}}`, "has a license.payload that is no JSON object"},
		"a date of a number":    {`{"license":{"payload":{"license_expiration_date":20300131}}}`, "has a license.payload.license_expiration_date that is no string"},
		"no date":               {`{"license":{"payload":{"license_expiration_date":"CANARY"}}}`, "has a license.payload.license_expiration_date that is no date as 2030-01-31"},
		"the beginning of time": {`{"license":{"payload":{"license_expiration_date":"0001-01-01T00:00:00Z"}}}`, "no date as 2030-01-31"},
		"a day that is not":     {`{"license":{"payload":{"license_expiration_date":"2030-02-30"}}}`, "no date as 2030-01-31"},
		"more than can be read": {strings.Repeat(" ", licensetext.MaxBytes) + full, "is longer than 65536 bytes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := licensetext.Parse(test.text)
			if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("Parse = %v, want %q and nothing of the text", err, test.says)
			}
		})
	}
}

// FuzzParse: whatever the text is, an answer says nothing of it but its date.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{full, "", "{}", `{"license":{"payload":{}}}`, `{"license":{"payload":{"license_expiration_date":"2030-01-31T10:00:00+14:00"}}}`, `{"license":null}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		license, err := licensetext.Parse(text)
		if err != nil {
			if license != (licensetext.License{}) || len(err.Error()) > 120 {
				t.Errorf("%+v beside %v", license, err)
			}
			return
		}
		if !json.Valid([]byte(text)) {
			t.Errorf("%q is taken and no JSON", text)
		}
		if (license.Date == "") != license.Expires.IsZero() {
			t.Errorf("date %q, end %v", license.Date, license.Expires)
		}
	})
}
