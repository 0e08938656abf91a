package httplog

import (
	"encoding/base64"
	"errors"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

// config is one configuration.
type config struct {
	id        string // of the plugin's entity
	method    string
	endpoint  *url.URL // without user information
	header    http.Header
	timeout   time.Duration
	keepalive time.Duration

	batch           int
	coalesce        time.Duration
	entries         int
	bytes           int64
	retryFor        time.Duration
	retryMin, retry time.Duration // the first and the longest pause
	senders         int
}

// What bounds where Kong has no bounds: a client decides how long a record is.
const (
	maxSenders = 32
	maxBytes   = 64 << 20
)

// parse reads a configuration. Its errors show nothing of the endpoint.
func parse(bytes []byte) (*config, error) {
	var m pluginv1.HttpLog
	if err := proto.Unmarshal(bytes, &m); err != nil {
		return nil, errors.New("configuration cannot be decoded")
	}
	c := &config{method: "POST", header: http.Header{}, timeout: milliseconds(m.Timeout, 10_000), keepalive: milliseconds(m.Keepalive, 60_000)}
	if err := c.target(&m); err != nil {
		return nil, err
	}
	q := m.GetQueue()
	if q == nil {
		q = &pluginv1.Queue{}
	}
	c.batch = int(bounded(q.MaxBatchSize, 1, 1_000_000))
	c.entries = int(bounded(q.MaxEntries, 10_000, 1_000_000))
	if c.bytes = q.GetMaxBytes(); c.bytes <= 0 {
		c.bytes = maxBytes
	}
	c.coalesce = seconds(q.MaxCoalescingDelay, 1)
	c.retryFor = seconds(q.MaxRetryTime, 60)
	c.retryMin = max(time.Millisecond, seconds(q.InitialRetryDelay, 0.01))
	c.retry = max(c.retryMin, seconds(q.MaxRetryDelay, 60))
	if c.senders = 1; q.GetConcurrencyLimit() == -1 {
		c.senders = maxSenders
	}
	return c, nil
}

// target reads where records go and how.
func (c *config) target(m *pluginv1.HttpLog) error {
	endpoint, err := url.Parse(m.GetHttpEndpoint())
	if err != nil || endpoint.Scheme != "http" && endpoint.Scheme != "https" || endpoint.Hostname() == "" {
		return errors.New("http_endpoint is not a URL of http or https")
	}
	c.header.Set("User-Agent", "keepgate")
	for name, value := range m.GetHeaders().GetValues() {
		if !validField(name, value) {
			return errors.New("a header is no valid header")
		}
		c.header.Set(name, value)
	}
	if user := endpoint.User; user != nil {
		password, _ := user.Password()
		c.header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
		endpoint.User = nil
	}
	c.endpoint = endpoint
	c.header.Set("Content-Type", "application/json")
	if m.ContentType != nil {
		c.header.Set("Content-Type", m.GetContentType())
	}
	switch m.GetMethod() {
	case "":
	case "POST", "PUT", "PATCH":
		c.method = m.GetMethod()
	default:
		return errors.New("method is none of POST, PUT, PATCH")
	}
	if !validField("Content-Type", c.header.Get("Content-Type")) {
		return errors.New("content_type is no valid header")
	}
	return nil
}

// validField says whether net/http would send a header as it is.
func validField(name, value string) bool {
	const separators = "()<>@,;:\\\"/[]?={} \t"
	if name == "" || strings.ContainsAny(name, separators) {
		return false
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7F {
			return false
		}
	}
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F })
}

func milliseconds(value *float64, def float64) time.Duration {
	return span(value, def, time.Millisecond)
}

func seconds(value *float64, def float64) time.Duration { return span(value, def, time.Second) }

// span is a number of units, at most a month.
func span(value *float64, def float64, unit time.Duration) time.Duration {
	n := def
	if value != nil && !math.IsNaN(*value) {
		n = *value
	}
	const most = 31 * 24 * time.Hour
	return time.Duration(max(0, min(n, float64(most/unit))) * float64(unit))
}

func bounded(value *int64, def, most int64) int64 {
	if value == nil {
		return def
	}
	return max(1, min(*value, most))
}
