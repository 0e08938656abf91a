package values_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/settings/values"
)

func TestServers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		want   []string
		says   string
		hidden bool
	}{
		"":                                    {},
		"nats://one:4222":                     {want: []string{"nats://one:4222"}},
		" nats://one:4222, tls://[::1]:4222 ": {want: []string{"nats://one:4222", "tls://[::1]:4222"}},
		"one:4222":                            {says: "nats://host:4222"},
		"http://one:4222":                     {says: "nats://host:4222"},
		"nats://":                             {says: "nats://host:4222"},
		"nats://canary:word@one:4222":         {says: "nats_nkey_file", hidden: true},
		"nats://canary@one:4222":              {says: "nats_nkey_file", hidden: true},
		"nats://can%ary:word@one:4222":        {says: "nats://host:4222", hidden: true},
	}
	for text, test := range tests {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			var got values.Servers
			err := got.UnmarshalText([]byte(text))
			if (err != nil) != (test.says != "") || err != nil && !strings.Contains(err.Error(), test.says) || err == nil && !slices.Equal(got, test.want) {
				t.Errorf("UnmarshalText = %q, %v", got, err)
			}
			if _, hidden := errors.AsType[values.Hidden](err); hidden != test.hidden || hidden && strings.Contains(err.Error(), "canary") {
				t.Errorf("%v: hidden %v", err, hidden)
			}
		})
	}
}
