// Package control tells a running test plugin (e2e/kmsplugin/program) how to misbehave, and asks it what it saw:
// JSON over HTTP on a UNIX socket of its own.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Method is one call that a plugin serves.
type Method string

// The methods of both versions.
const (
	Status    Method = "Status"
	Encrypt   Method = "Encrypt"
	Decrypt   Method = "Decrypt"
	V1Version Method = "v1.Version"
	V1Encrypt Method = "v1.Encrypt"
	V1Decrypt Method = "v1.Decrypt"
)

// Refusal is a gRPC error in place of an answer.
type Refusal struct {
	Code    uint32
	Message string
	Echo    string // "raw", "hex" or "base64": the message ends with what was to be encrypted, in that form
}

// Faults is everything that the plugin does wrong at present. The zero value is a good plugin. Faults outlive a
// restart, as keys do.
type Faults struct {
	Hang   map[Method]bool    // never answers, until the fault is taken back or the caller leaves
	Die    map[Method]bool    // the process ends at the call, without an answer
	Refuse map[Method]Refusal // answers with an error
	Delay  map[Method]time.Duration

	Healthz      string // of Status, in place of "ok"
	Version      string // of Status, in place of "v2"
	V1Version    string // of Version, in place of "v1beta1"
	StatusKeyID  *string
	EncryptKeyID *string
	Flap         bool // each Status names the other one of the two newest keys, and Encrypt uses that one

	Annotations map[string][]byte // of Encrypt, beside its own
	CipherSize  int               // the ciphertext of Encrypt has so many bytes; -1: none
	Garbage     bool              // the ciphertext of Encrypt opens under no key
	Plaintext   string            // of Decrypt: "wrong" (as long), "other" (one of another ciphertext), "short", "empty"
}

// State is what the plugin has and saw.
type State struct {
	Active      string
	Keys        []string // ids, oldest first
	Faults      Faults
	Calls       map[Method]int // since the process started
	Authorities []string       // each :authority that was seen
}

// Client drives one plugin.
type Client struct{ http *http.Client }

// New makes a client of the plugin whose control socket this is.
func New(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", socket)
	}
	return &Client{&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: 30 * time.Second}}
}

// State returns what the plugin has and saw.
func (c *Client) State() (s State, err error) { return s, c.do(http.MethodGet, "/state", nil, &s) }

// SetFaults replaces all faults.
func (c *Client) SetFaults(f Faults) error { return c.do(http.MethodPut, "/faults", f, nil) }

// Rotate makes a new key and its id the active one: "" draws an id. The id of a key that there is gets new material,
// and what it had wrapped is lost: what a plugin must never do.
func (c *Client) Rotate(id string) (string, error) {
	var s State
	err := c.do(http.MethodPost, "/rotate", id, &s)
	return s.Active, err
}

// Return makes an old key the active one again, under the id that it had: what a plugin must never do.
func (c *Client) Return(id string) error { return c.do(http.MethodPost, "/return", id, nil) }

// Forget drops a key for good. Status and Encrypt go on if it was another than the active one.
func (c *Client) Forget(id string) error { return c.do(http.MethodPost, "/forget", id, nil) }

func (c *Client) do(method, path string, send, receive any) error {
	body, err := json.Marshal(send)
	if err != nil {
		return fmt.Errorf("encoding for %s: %w", path, err)
	}
	request, err := http.NewRequest(method, "http://plugin"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("reading the answer to %s: %w", path, err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, answer.Status, text)
	}
	if receive == nil {
		return nil
	}
	return json.Unmarshal(text, receive)
}
