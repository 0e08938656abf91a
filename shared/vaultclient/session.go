package vaultclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretfile"
	"github.com/keepgate/keepgate/shared/vaultrule"
)

const maxToken = 16 << 10 // of a file that holds one

// Session is a client with a token. Wipe it when it is done with.
type Session struct {
	client *Client
	token  secret.Bytes
	mine   bool // the token was made by this session's login
}

// Token is what the server says of a token.
type Token struct {
	TTL       time.Duration // 0: it does not expire
	Life      time.Duration // the TTL that it was made with; 0: not known
	Renewable bool
	Policies  []string
}

// WithToken uses a token that somebody made. The session keeps a copy.
func (c *Client) WithToken(token secret.Bytes) (*Session, error) {
	var copied []byte
	token.Reveal(func(data []byte) { copied = bytes.Clone(bytes.TrimSpace(data)) })
	if !vaultrule.IsToken(copied) {
		clear(copied)
		return nil, fault.New(fault.Invalid, "vaultclient.WithToken", "token", &Failure{StepLogin, "no token: it is empty, too long, or has signs that no token has", nil})
	}
	return &Session{client: c, token: secret.Take(copied)}, nil
}

// Kubernetes logs in with the token of a service account, which is read from its file now: Kubernetes replaces it under
// way. mount is where the method is enabled, as "kubernetes".
func (c *Client) Kubernetes(ctx context.Context, mount, role, file string) (*Session, error) {
	const op = "vaultclient.Kubernetes"
	jwt, err := readToken(file)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, "service account", &Failure{StepLogin, "the service account's token " + file + ": " + err.Error(), err})
	}
	defer jwt.Wipe()
	var body []byte
	if jwt.Reveal(func(data []byte) { body, err = json.Marshal(map[string]string{"role": role, "jwt": string(data)}) }); err != nil {
		return nil, fault.New(fault.Internal, op, "service account", err)
	}
	defer clear(body)
	path, err := segments(op, "auth/"+mount)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Auth struct {
			Token text `json:"client_token"`
		}
	}
	r := request{op: op, subject: "role/" + role, method: http.MethodPost, path: append(path, "login"), body: body, hide: jwt}
	if err := c.ask(ctx, r, &answer); err != nil {
		return nil, err
	}
	if !vaultrule.IsToken(answer.Auth.Token) {
		clear(answer.Auth.Token)
		return nil, fault.New(fault.Corrupt, op, r.subject, &Failure{StepLogin, "the answer to the login holds no token", nil})
	}
	return &Session{client: c, token: secret.Take(answer.Auth.Token), mine: true}, nil
}

func readToken(file string) (secret.Bytes, error) {
	data, _, err := secretfile.Read(file, maxToken)
	if err != nil {
		return secret.Bytes{}, errors.New(reason(err))
	}
	if token := bytes.TrimSpace(data); vaultrule.IsToken(token) {
		return secret.Take(token), nil
	}
	clear(data)
	return secret.Bytes{}, errors.New("no token in it")
}

// Lookup asks what the token is.
func (s *Session) Lookup(ctx context.Context) (Token, error) {
	var answer struct {
		Data struct {
			TTL       int64
			Life      int64 `json:"creation_ttl"`
			Renewable bool
			Policies  []string
		}
	}
	err := s.client.ask(ctx, s.self("vaultclient.Lookup", http.MethodGet, "lookup-self"), &answer)
	d := answer.Data
	return Token{time.Duration(d.TTL) * time.Second, time.Duration(d.Life) * time.Second, d.Renewable, d.Policies}, err
}

// Renew lets the token live on as long as its role allows. Policy "default" permits it.
func (s *Session) Renew(ctx context.Context) (Token, error) {
	var answer struct {
		Auth struct {
			Seconds   int64 `json:"lease_duration"`
			Renewable bool
			Policies  []string
		}
	}
	r := s.self("vaultclient.Renew", http.MethodPost, "renew-self")
	r.body = []byte("{}")
	err := s.client.ask(ctx, r, &answer)
	return Token{TTL: time.Duration(answer.Auth.Seconds) * time.Second, Renewable: answer.Auth.Renewable, Policies: answer.Auth.Policies}, err
}

// Close forgets the token. One that this session's login made is revoked, so that logins leave none behind.
func (s *Session) Close(ctx context.Context) error {
	defer s.token.Wipe()
	if !s.mine {
		return nil
	}
	s.mine = false
	r := s.self("vaultclient.Close", http.MethodPost, "revoke-self")
	_, body, err := s.client.do(ctx, r, http.StatusOK, http.StatusNoContent)
	clear(body)
	return err
}

func (s *Session) self(op, method, what string) request {
	return request{op: op, subject: "token", method: method, path: strings.Split("auth/token/"+what, "/"), token: s.token}
}
