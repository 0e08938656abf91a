package vaultclient

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/vaultrule"
)

const metadataAnswer = `{"data":{"current_version":2,"versions":{"1":{"created_time":"2026-03-22T02:24:06.945319214Z","deletion_time":"2026-03-22T02:25:06.9Z","destroyed":false},` +
	`"2":{"created_time":"2026-03-22T02:36:43.986212308Z","deletion_time":"","destroyed":true}}}}`

func FuzzMetadata(f *testing.F) {
	f.Add([]byte(metadataAnswer))
	f.Add([]byte(`{"data":{"current_version":1,"versions":{"2":{}}}}`))
	f.Add([]byte(`{"data":{"current_version":1,"versions":{"01":{}}}}`))
	f.Add([]byte(`{"data":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, ok := parseMetadata(body)
		last := 0
		for _, v := range m.Versions {
			if !ok || v.Number <= last || v.Number > m.Current {
				t.Fatalf("%s: %+v, %t", body, m, ok)
			}
			last = v.Number
			_ = v.Deleted(time.Now())
		}
	})
}

func FuzzSecret(f *testing.F) {
	f.Add([]byte(`{"data":{"data":{"id":"a","key":"\u00e9","n":1,"z":null,"o":{"a":[]}},"metadata":{"version":1}}}`))
	f.Add([]byte(`{"data":{"data":null,"metadata":{"version":1}}}`))
	f.Add([]byte(`{"data":{"data":{"id":"\ud800"},"metadata":{"version":1}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		found, ok := parseSecret(bytes.Clone(body))
		if ok && found.Version < 1 {
			t.Fatalf("%s: version %d", body, found.Version)
		}
		found.Wipe()
	})
}

func FuzzAddress(f *testing.F) {
	for _, address := range []string{"https://vault:8200", "http://127.0.0.1", "https://[::1]", "http://localhost.", "https://a@b", "https:///x", "http://[::ffff:127.0.0.1]"} {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		base, err := parseAddress(address)
		if err == nil && (base.Hostname() == "" || base.User != nil || base.Path != "" || base.RawQuery != "" || base.Scheme != "https" && !vaultrule.Here(base.Hostname())) {
			t.Fatalf("%q was taken as %v", address, base)
		}
	})
}

func FuzzWhatAServerSays(f *testing.F) {
	f.Add([]byte(`{"errors":["permission denied"]}`), "tok")
	f.Add([]byte("{\"errors\":[\"a\\u001b[2J tok\"]}"), "tok")
	f.Fuzz(func(t *testing.T, body []byte, token string) {
		said := serverSays(body, secret.Take([]byte(token)))
		if len(said) > maxShown+len("…") || strings.ContainsFunc(said, func(r rune) bool { return r < ' ' }) {
			t.Fatalf("%q", said)
		}
		if len(token) > 3 && strings.Contains(said, token) && !strings.Contains("something that holds the token", token) {
			t.Fatalf("%q shows the token", said)
		}
	})
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	m, ok := parseMetadata([]byte(metadataAnswer))
	if !ok || m.Current != 2 || len(m.Versions) != 2 || m.Versions[0].Destroyed || m.Versions[0].DeletedAt.IsZero() || !m.Versions[1].Destroyed {
		t.Errorf("parseMetadata = %+v, %t", m, ok)
	}
	for _, body := range []string{"", "null", "{}", `{"data":{}}`, `{"data":{"data":null,"metadata":{"version":1}}}`, `{"data":{"data":{}}}`} {
		if _, ok := parseSecret([]byte(body)); ok {
			t.Errorf("%q passes for a secret", body)
		}
		if _, ok := parseMetadata([]byte(body)); ok {
			t.Errorf("%q passes for metadata", body)
		}
	}
	later := Version{DeletedAt: time.Now().Add(time.Hour)}
	if later.Deleted(time.Now()) || !later.Deleted(time.Now().Add(2*time.Hour)) {
		t.Error("a version is deleted at the wrong time")
	}
}
