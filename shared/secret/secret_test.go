package secret_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/secret"
)

const canary = "canary-7f3a"

type hidden struct{ inner secret.Bytes }

type shown struct{ Inner secret.Bytes }

func TestNoPrinterShowsASecret(t *testing.T) {
	t.Parallel()
	value := secret.Take([]byte(canary))
	values := map[string]any{
		"value": value, "pointer": &value, "unexported field": hidden{value}, "pointer to unexported field": &hidden{value},
		"exported field": shown{value}, "slice": []secret.Bytes{value}, "map": map[string]secret.Bytes{"k": value},
	}
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p", "%b", "%o", "%c", "%U"}
	for name, v := range values {
		for _, verb := range verbs {
			text := fmt.Sprintf(verb, v)
			if strings.Contains(text, canary) || strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", canary)) {
				t.Errorf("%s with %s shows the secret: %s", name, verb, text)
			}
		}
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		if strings.Contains(log.String(), canary) {
			t.Errorf("%s: slog shows the secret", name)
		}
	}
}

func TestNoEncoderTakesASecret(t *testing.T) {
	t.Parallel()
	value := shown{secret.Take([]byte(canary))}
	if text, err := json.Marshal(value); err == nil {
		t.Errorf("json.Marshal = %s, want an error", text)
	}
	if text, err := xml.Marshal(value); err == nil {
		t.Errorf("xml.Marshal = %s, want an error", text)
	}
	if err := gob.NewEncoder(&bytes.Buffer{}).Encode(value); err == nil {
		t.Error("gob took a secret")
	}
}

func TestEqualLenWipe(t *testing.T) {
	t.Parallel()
	a, b, c := secret.Take([]byte("same")), secret.Take([]byte("same")), secret.Take([]byte("other"))
	if !a.Equal(b) || a.Equal(c) || a.Equal(secret.Bytes{}) || !(secret.Bytes{}).Equal(secret.Bytes{}) {
		t.Error("Equal is wrong")
	}
	if a.Len() != 4 || (secret.Bytes{}).Len() != 0 {
		t.Error("Len is wrong")
	}
	a.Wipe()
	a.Reveal(func(data []byte) {
		if !bytes.Equal(data, make([]byte, 4)) {
			t.Error("Wipe left bytes")
		}
	})
}

func TestACloneIsWipedApart(t *testing.T) {
	t.Parallel()
	data := []byte(canary)
	value := secret.Take(data)
	copied, another := value.Clone(), value.Clone()
	value.Wipe()
	if !copied.Equal(secret.Take([]byte(canary))) || value.Equal(copied) || bytes.Contains(data, []byte("canary")) {
		t.Error("wiping a secret wiped its copy, or not itself")
	}
	copied.Wipe()
	if !another.Equal(secret.Take([]byte(canary))) {
		t.Error("wiping a copy wiped another")
	}
	if empty := (secret.Bytes{}).Clone(); empty.Len() != 0 {
		t.Errorf("a copy of nothing has %d bytes", empty.Len())
	}
}
