package app

import (
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/listener"
	"github.com/keepgate/keepgate/shared/settings/values"
)

func TestATakenPortSaysWhatToChange(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string]string{"plain": "", "with a backlog": " backlog=16384"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := listener.New(listen(t, "127.0.0.1:0"), listener.Options{})
			if err := first.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			taken := first.Addrs()[0].String()
			err := listener.New(listen(t, taken+flags), listener.Options{}).Open(t.Context())
			if err == nil {
				t.Fatalf("%s was opened twice", taken)
			}
			text := notOpened("proxy_listen", err).Error()
			if !strings.HasPrefix(text, "proxy_listen: ") || !strings.Contains(text, taken) ||
				!strings.HasSuffix(text, "another program has the port; change proxy_listen") {
				t.Errorf("it says %q", text)
			}
		})
	}
}

func listen(t *testing.T, text string) (l values.Listen) {
	t.Helper()
	if err := l.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return l
}
