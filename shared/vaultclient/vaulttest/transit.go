package vaulttest

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
)

// transit is a mount of the transit engine. It encrypts nothing: a ciphertext is a random name for what it stands for.
type transit struct{ keys map[string]*transitKey }

type transitKey struct {
	version int
	sealed  map[string]string // ciphertext → base64 of the plaintext
}

func newTransit() *transit { return &transit{map[string]*transitKey{}} }

// MountTransit mounts a transit engine with one key.
func (s *Server) MountTransit(mount, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := newTransit()
	t.keys[key] = &transitKey{1, map[string]string{}}
	s.transits[mount+"/"] = t
}

func (t *transit) call(c *call, below string) answer {
	what, name, _ := strings.Cut(below, "/")
	if c.method != http.MethodPut && c.method != http.MethodPost {
		return refuse(http.StatusMethodNotAllowed, "unsupported operation")
	}
	if what == "keys" {
		return t.manage(name)
	}
	key := t.keys[name]
	if key == nil && what == "encrypt" { // who may create makes it so
		key = &transitKey{1, map[string]string{}}
		t.keys[name] = key
	}
	switch {
	case key == nil:
		return refuse(http.StatusBadRequest, "encryption key not found")
	case what == "encrypt":
		text, _ := c.body["plaintext"].(string)
		if _, err := base64.StdEncoding.DecodeString(text); err != nil {
			return refuse(http.StatusBadRequest, "failed to base64-decode plaintext")
		}
		sealed := "vault:v" + strconv.Itoa(key.version) + ":" + base64.StdEncoding.EncodeToString([]byte(random(40)))
		key.sealed[sealed] = text
		return answer{status: http.StatusOK, data: map[string]any{"ciphertext": sealed, "key_version": key.version}}
	case what == "decrypt":
		sealed, _ := c.body["ciphertext"].(string)
		text, known := key.sealed[sealed]
		switch {
		case !strings.HasPrefix(sealed, "vault:v"):
			return refuse(http.StatusBadRequest, "invalid ciphertext: no prefix")
		case !known:
			return refuse(http.StatusBadRequest, "cipher: message authentication failed")
		}
		return answer{status: http.StatusOK, data: map[string]any{"plaintext": text}}
	}
	return refuse(http.StatusNotFound, "unsupported path")
}

// manage makes a key, or rotates it: older versions go on opening.
func (t *transit) manage(name string) answer {
	if rotated, ok := strings.CutSuffix(name, "/rotate"); ok {
		if t.keys[rotated] == nil {
			return refuse(http.StatusBadRequest, "no existing key named "+rotated+" could be found")
		}
		t.keys[rotated].version++
		return answer{status: http.StatusNoContent}
	}
	if t.keys[name] == nil {
		t.keys[name] = &transitKey{1, map[string]string{}}
	}
	return answer{status: http.StatusNoContent}
}
