package vaultclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/vaultrule"
)

// Metadata is what the store says of a secret.
type Metadata struct {
	Current  int       // the newest version, deleted or not; 0: none was ever written
	Versions []Version // oldest first
}

// Version is one version of a secret.
type Version struct {
	Number    int
	Created   string    // as the server writes it: it tells a version from one of a secret that was made anew
	DeletedAt time.Time // zero: not deleted; may lie ahead
	Destroyed bool
}

// Deleted reports whether the version is not to be read at a moment.
func (v Version) Deleted(now time.Time) bool {
	return v.Destroyed || (!v.DeletedAt.IsZero() && !v.DeletedAt.After(now))
}

// Secret is what a version holds.
type Secret struct {
	Version int
	Texts   map[string]secret.Bytes
	Others  map[string]secret.Bytes // numbers, lists and the like, as JSON
}

// Wipe overwrites the values.
func (s Secret) Wipe() {
	for _, values := range []map[string]secret.Bytes{s.Texts, s.Others} {
		for _, value := range values {
			value.Wipe()
		}
	}
}

// Metadata asks which versions a secret has. It takes the capability read on <mount>/metadata/<path>.
func (s *Session) Metadata(ctx context.Context, mount, path string) (Metadata, error) {
	const op = "vaultclient.Metadata"
	r, err := s.kv(op, mount, "metadata", path)
	if err != nil {
		return Metadata{}, err
	}
	body, err := s.client.get(ctx, r)
	if err != nil {
		return Metadata{}, err
	}
	defer clear(body)
	m, ok := parseMetadata(body)
	if !ok {
		return Metadata{}, malformed(op, r.subject)
	}
	return m, nil
}

func parseMetadata(body []byte) (m Metadata, ok bool) {
	var answer struct {
		Data *struct {
			Current  int `json:"current_version"`
			Versions map[string]struct {
				Created   string `json:"created_time"`
				Deleted   string `json:"deletion_time"`
				Destroyed bool
			}
		}
	}
	if json.Unmarshal(body, &answer) != nil || answer.Data == nil || answer.Data.Versions == nil {
		return m, false
	}
	m.Current = answer.Data.Current
	for number, v := range answer.Data.Versions {
		n, err := strconv.Atoi(number)
		deleted, timeErr := parseTime(v.Deleted)
		if err != nil || timeErr != nil || n < 1 || n > m.Current || strconv.Itoa(n) != number {
			return Metadata{}, false
		}
		m.Versions = append(m.Versions, Version{n, v.Created, deleted, v.Destroyed})
	}
	slices.SortFunc(m.Versions, func(a, b Version) int { return a.Number - b.Number })
	return m, true
}

func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339Nano, text)
}

// Read reads one version, 0 for the newest; fault.NotFound for one that is deleted. It takes the capability read on
// <mount>/data/<path>. The caller wipes the secret.
func (s *Session) Read(ctx context.Context, mount, path string, version int) (Secret, error) {
	const op = "vaultclient.Read"
	r, err := s.kv(op, mount, "data", path)
	if err != nil {
		return Secret{}, err
	}
	if version > 0 {
		r.query = url.Values{"version": {strconv.Itoa(version)}}
	}
	body, err := s.client.get(ctx, r)
	if err != nil {
		return Secret{}, err
	}
	defer clear(body)
	found, ok := parseSecret(body)
	if !ok || (version > 0 && found.Version != version) {
		found.Wipe()
		return Secret{}, malformed(op, r.subject)
	}
	return found, nil
}

// ReadV1 reads a secret of a store of version 1, which keeps one version and does not number it. It takes the capability read
// on <mount>/<path>. The caller wipes the secret.
func (s *Session) ReadV1(ctx context.Context, mount, path string) (Secret, error) {
	const op = "vaultclient.ReadV1"
	r, err := s.kv(op, mount, "", path)
	if err != nil {
		return Secret{}, err
	}
	body, err := s.client.get(ctx, r)
	if err != nil {
		return Secret{}, err
	}
	defer clear(body)
	var answer struct{ Data map[string]json.RawMessage }
	err = json.Unmarshal(body, &answer)
	found, ok := members(answer.Data)
	if err != nil || answer.Data == nil || !ok {
		found.Wipe()
		return Secret{}, malformed(op, r.subject)
	}
	return found, nil
}

func parseSecret(body []byte) (found Secret, ok bool) {
	var answer struct {
		Data struct {
			Data     map[string]json.RawMessage
			Metadata struct{ Version int }
		}
	}
	err := json.Unmarshal(body, &answer)
	found, ok = members(answer.Data.Data)
	found.Version = answer.Data.Metadata.Version
	return found, ok && err == nil && answer.Data.Data != nil && found.Version > 0
}

// members parts texts from what else JSON has, and clears what it reads.
func members(data map[string]json.RawMessage) (found Secret, ok bool) {
	var err error
	found = Secret{Texts: map[string]secret.Bytes{}, Others: map[string]secret.Bytes{}}
	for name, raw := range data {
		var value text
		switch raw[0] {
		case 'n': // null
		case '"':
			err = errors.Join(err, json.Unmarshal(raw, &value))
			found.Texts[name] = secret.Take(value)
		default:
			found.Others[name] = secret.Take(bytes.Clone(raw))
		}
		clear(raw)
	}
	return found, err == nil
}

// List names what lies below a path; folders end with a slash. It takes the capability list on <mount>/metadata/<path>.
func (s *Session) List(ctx context.Context, mount, path string) ([]string, error) {
	var answer struct{ Data struct{ Keys []string } }
	r, err := s.kv("vaultclient.List", mount, "metadata", path)
	if strings.Trim(path, "/") == "" {
		r, err = s.kv("vaultclient.List", mount, "metadata", "all")
		r.path = r.path[:max(len(r.path)-1, 0)]
	}
	r.query = url.Values{"list": {"true"}} // which is what LIST means, for what stands between and does not know the method
	if err == nil {
		err = s.client.ask(ctx, r, &answer)
	}
	return answer.Data.Keys, err
}

func (s *Session) kv(op, mount, what, path string) (request, error) {
	below, err := segments(op, mount)
	if err != nil {
		return request{}, err
	}
	rest, err := segments(op, path)
	if err != nil {
		return request{}, err
	}
	if what != "" {
		below = append(below, what)
	}
	return request{
		op: op, subject: strings.Trim(mount, "/") + "/" + strings.Trim(path, "/"), method: http.MethodGet,
		path: append(below, rest...), token: s.token,
	}, nil
}

// CheckPath says what is wrong with a mount or a path.
func CheckPath(path string) error {
	_, err := segments("vaultclient.CheckPath", path)
	return err
}

// segments parts a mount or path, escaped for a URL.
func segments(op, path string) ([]string, error) {
	if wrong := vaultrule.Path(path); wrong != "" {
		return nil, fault.New(fault.Invalid, op, "path", &Failure{StepAddress, wrong, nil})
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return parts, nil
}

// get makes a request and returns the body of its answer, which the caller clears.
func (c *Client) get(ctx context.Context, r request) ([]byte, error) {
	_, body, err := c.do(ctx, r, http.StatusOK)
	return body, err
}

// ask makes a request and reads the JSON of its answer.
func (c *Client) ask(ctx context.Context, r request, into any) error {
	body, err := c.get(ctx, r)
	if err != nil {
		return err
	}
	defer clear(body)
	if json.Unmarshal(body, into) != nil {
		return malformed(r.op, r.subject)
	}
	return nil
}

func malformed(op, subject string) error {
	return fault.New(fault.Corrupt, op, subject, &Failure{StepServer, "the answer has not the form that Vault's has: is this Vault or OpenBao, and the mount one of its key-value stores, version 2?", nil})
}

// text is a JSON string that encoding/json makes no other copy of.
type text []byte

// UnmarshalText copies what it gets.
func (t *text) UnmarshalText(data []byte) error {
	*t = bytes.Clone(data)
	return nil
}
