package values_test

import (
	"testing"

	"github.com/keepgate/keepgate/shared/settings/values"
)

func TestSwitch(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		given, on, off bool // on and off: what it is with a fallback of true and of false
		shown          string
	}{
		"":      {on: true},
		"on":    {given: true, on: true, off: true, shown: "on"},
		"true":  {given: true, on: true, off: true, shown: "on"},
		"off":   {given: true, shown: "off"},
		"false": {given: true, shown: "off"},
	}
	for text, test := range tests {
		var s values.Switch
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if s.Given() != test.given || s.Or(true) != test.on || s.Or(false) != test.off || s.String() != test.shown {
			t.Errorf("%q: given %t, or on %t, or off %t, shown %q", text, s.Given(), s.Or(true), s.Or(false), s)
		}
	}
	var s values.Switch
	if err := s.UnmarshalText([]byte("maybe")); err == nil {
		t.Error("maybe is taken")
	}
}
