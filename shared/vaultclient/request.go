package vaultclient

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/version"
)

const (
	maxAnswer    = 1 << 20
	maxRedirects = 3
	firstPause   = 200 * time.Millisecond
	maxPause     = 5 * time.Second
)

// request is one call of the API.
type request struct {
	op, subject string
	method      string
	path        []string // segments below /v1
	query       url.Values
	body        []byte // of JSON, or nil
	token       secret.Bytes
	hide        secret.Bytes // besides the token, must stand in no error
}

// do returns the body of an answer with a status that is wanted, which the caller clears. What the server has no time for
// is tried again a few times.
func (c *Client) do(ctx context.Context, r request, wanted ...int) (status int, body []byte, err error) {
	for attempt := 1; ; attempt++ {
		var after time.Duration
		status, body, after, err = c.once(ctx, r)
		switch {
		case err == nil && slices.Contains(wanted, status):
			return status, body, nil
		case err == nil:
			err = answered(r.op, r.subject, status, body, r.token.Len() == 0, r.token, r.hide)
			clear(body)
		}
		pause := min(firstPause<<(attempt-1), maxPause)
		pause += rand.N(pause / 2)
		if after > 0 {
			pause = after
		}
		if attempt >= c.options.Attempts || !again(status, err) || pause > maxPause {
			return status, nil, err
		}
		select {
		case <-ctx.Done():
			return status, nil, err
		case <-time.After(pause):
		}
	}
}

// again: the next attempt may go better. Whoever asks tries again later on what takes an operator.
func again(status int, err error) bool {
	switch status {
	case 0:
		step := StepOf(err)
		return step == StepTCP || step == StepServer
	case http.StatusTooManyRequests, http.StatusPreconditionFailed:
		return true
	}
	return status >= 500 && status != http.StatusNotImplemented
}

// once makes one attempt, and follows a standby to the active node.
func (c *Client) once(ctx context.Context, r request) (status int, body []byte, after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	at := c.base.JoinPath(append([]string{"v1"}, r.path...)...)
	at.RawQuery = r.query.Encode()
	for range maxRedirects + 1 {
		answer, err := c.send(ctx, at, r)
		if err != nil {
			return 0, nil, 0, fault.New(fault.Unavailable, r.op, r.subject, transportFailure(ctx, err))
		}
		if location := answer.Header.Get("Location"); redirects(answer.StatusCode) {
			_ = answer.Body.Close() // not read
			if at, err = c.follow(at, location); err != nil {
				return answer.StatusCode, nil, 0, fault.New(fault.Denied, r.op, r.subject, err)
			}
			continue
		}
		body, err := readAnswer(answer)
		if err != nil {
			return 0, nil, 0, fault.New(fault.Unavailable, r.op, r.subject, transportFailure(ctx, err))
		}
		return answer.StatusCode, body, retryAfter(answer.Header.Get("Retry-After")), nil
	}
	return 0, nil, 0, fault.New(fault.Denied, r.op, r.subject, &Failure{StepAddress, "the server sends to another one over and over", nil})
}

func (c *Client) send(ctx context.Context, at *url.URL, r request) (*http.Response, error) {
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	q, err := http.NewRequestWithContext(ctx, r.method, at.String(), body)
	if err != nil {
		return nil, err
	}
	q.Header.Set("X-Vault-Request", "true") // which proxies of Vault demand, against requests that a browser was made to send
	q.Header.Set("User-Agent", "keepgate/"+version.Text)
	if r.body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	if c.options.Namespace != "" {
		q.Header.Set("X-Vault-Namespace", c.options.Namespace)
	}
	if r.token.Len() > 0 {
		r.token.Reveal(func(data []byte) { q.Header.Set("X-Vault-Token", string(data)) })
	}
	return c.transport.RoundTrip(q)
}

func redirects(status int) bool {
	return status == http.StatusTemporaryRedirect || status == http.StatusPermanentRedirect || status == http.StatusMovedPermanently || status == http.StatusFound
}

// follow is where a standby points: the token goes along, so that the way must be as safe as the one before.
func (c *Client) follow(from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	switch {
	case err != nil || location == "" || to.User != nil || to.Hostname() == "":
		return nil, &Failure{StepAddress, "the server points to no server", nil}
	case to.Scheme != from.Scheme:
		return nil, &Failure{StepAddress, "the server points to " + strconv.Quote(to.Scheme) + ", and was asked by " + from.Scheme +
			": mend its api_addr, or give the address of the active node", nil}
	case to.Scheme != "https" && to.Hostname() != from.Hostname():
		return nil, &Failure{StepAddress, "the server points to another host, in clear", nil}
	case c.options.Follows != nil && !strings.EqualFold(to.Hostname(), c.base.Hostname()) && !c.options.Follows(to.Hostname()):
		return nil, &Failure{StepAddress, "the server points to a host that is not to be asked: give the address of the active node", nil}
	}
	return to, nil
}

func readAnswer(answer *http.Response) ([]byte, error) {
	defer func() { _ = answer.Body.Close() }() // read already, or given up
	size := answer.ContentLength
	if size > maxAnswer {
		return nil, errTooLong
	}
	buffer := bytes.NewBuffer(make([]byte, 0, max(size, 512)+bytes.MinRead)) // which grows, and leaves a copy, where no length was told
	n, err := buffer.ReadFrom(io.LimitReader(answer.Body, maxAnswer+1))
	if err == nil && n > maxAnswer {
		err = errTooLong
	}
	if err != nil {
		clear(buffer.Bytes())
		return nil, err
	}
	return buffer.Bytes(), nil
}

var errTooLong error = &Failure{StepServer, "the answer is longer than any that Vault gives", errors.New("too long")}

// retryAfter reads seconds or a date (RFC 9110 §10.2.3); 0: it says nothing.
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil && seconds >= 0 && seconds < 1<<20 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
