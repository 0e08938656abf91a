package vaultclient

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// TransitEncrypt has the transit engine encrypt something under one of its keys (api-docs/secret/transit). It takes the
// capability update on <mount>/encrypt/<key>. What comes back begins vault:v and is not secret.
func (s *Session) TransitEncrypt(ctx context.Context, mount, key string, plaintext secret.Bytes) (string, error) {
	const op = "vaultclient.TransitEncrypt"
	var body []byte
	var err error
	plaintext.Reveal(func(data []byte) {
		body, err = json.Marshal(map[string]string{"plaintext": base64.StdEncoding.EncodeToString(data)})
	})
	if err != nil {
		return "", fault.New(fault.Internal, op, key, err)
	}
	defer clear(body)
	var answer struct{ Data struct{ Ciphertext string } }
	if err := s.transit(ctx, op, mount, "encrypt", key, body, plaintext, &answer); err != nil {
		return "", err
	}
	if !strings.HasPrefix(answer.Data.Ciphertext, "vault:v") {
		return "", malformedTransit(op, key)
	}
	return answer.Data.Ciphertext, nil
}

// TransitDecrypt has it decrypted again. It takes the capability update on <mount>/decrypt/<key>. The caller wipes what it
// gets.
func (s *Session) TransitDecrypt(ctx context.Context, mount, key, ciphertext string) (secret.Bytes, error) {
	const op = "vaultclient.TransitDecrypt"
	body, err := json.Marshal(map[string]string{"ciphertext": ciphertext})
	if err != nil {
		return secret.Bytes{}, fault.New(fault.Internal, op, key, err)
	}
	var answer struct{ Data struct{ Plaintext text } }
	if err := s.transit(ctx, op, mount, "decrypt", key, body, secret.Bytes{}, &answer); err != nil {
		return secret.Bytes{}, err
	}
	defer clear(answer.Data.Plaintext)
	data := make([]byte, base64.StdEncoding.DecodedLen(len(answer.Data.Plaintext)))
	n, err := base64.StdEncoding.Decode(data, answer.Data.Plaintext)
	if err != nil || n == 0 {
		return secret.Bytes{}, malformedTransit(op, key)
	}
	defer clear(data)
	return secret.Take(bytes.Clone(data[:n])), nil
}

func (s *Session) transit(ctx context.Context, op, mount, what, key string, body []byte, hide secret.Bytes, into any) error {
	path, err := segments(op, mount)
	if err != nil {
		return err
	}
	name, err := segments(op, key)
	if err != nil {
		return err
	}
	r := request{
		op: op, subject: strings.Trim(mount, "/") + "/" + what + "/" + key, method: http.MethodPost,
		path: append(append(path, what), name...), body: body, token: s.token, hide: hide,
	}
	return s.client.ask(ctx, r, into)
}

func malformedTransit(op, key string) error {
	return fault.New(fault.Corrupt, op, key, &Failure{StepServer, "the answer has not the form that Vault's has: is the mount one of its transit engine?", nil})
}
