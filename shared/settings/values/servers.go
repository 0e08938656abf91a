package values

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Servers are the URLs of message servers, "nats://one:4222, tls://two:4222".
type Servers []string

// UnmarshalText reads the list. A URL with a login in it is refused with an error that is [Hidden]: settings are shown.
func (s *Servers) UnmarshalText(text []byte) error {
	*s = nil
	for entry := range strings.SplitSeq(string(text), ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		parsed, err := url.Parse(entry)
		if err != nil {
			return Hidden("write URLs such as nats://host:4222 or tls://host:4222")
		}
		if parsed.User != nil {
			return Hidden("take the login out of the URL and set nats_nkey_file or nats_credentials_file: settings are shown and logged")
		}
		if !slices.Contains([]string{"nats", "tls"}, parsed.Scheme) || parsed.Host == "" {
			return fmt.Errorf("%q is no URL such as nats://host:4222 or tls://host:4222", entry)
		}
		*s = append(*s, entry)
	}
	return nil
}

// String writes the list.
func (s Servers) String() string { return strings.Join(s, ",") }

// Hidden is an error about a text that may hold a secret, so that nobody shows the text.
type Hidden string

func (h Hidden) Error() string { return string(h) }

// HidesText reports that the text is not to be shown.
func (Hidden) HidesText() bool { return true }
