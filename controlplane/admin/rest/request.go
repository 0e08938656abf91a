package rest

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/shared/schema"
)

// MaxBodyBytes bounds the body of a request, as Kong's nginx_admin_client_max_body_size does.
const MaxBodyBytes = 10 << 20

// Request is a request that found its path.
type Request struct {
	*http.Request
	// Prefix is "/<workspace>" when the path begins with a workspace, or "".
	Prefix string
	// Resolve finds the id of the workspace.
	Resolve func() (string, error)
	// Privileged reports whether the caller may have what is revealed nowhere else.
	Privileged bool
	// Granted, where it is set, is told what Demand is about to let through; its error is the answer then.
	Granted func(what string) error

	match *Match
	out   http.ResponseWriter
}

// NewRequest prepares a request for its handler.
func NewRequest(w http.ResponseWriter, r *http.Request, m *Match) *Request {
	request := &Request{Request: r, match: m, out: w}
	if m.Workspace != "" {
		request.Prefix = "/" + url.PathEscape(m.Workspace)
	}
	return request
}

// Param returns the n-th parameter of the path, from 0.
func (r *Request) Param(n int) string {
	if n >= len(r.match.params) {
		return ""
	}
	return r.match.params[n]
}

// WorkspaceName is the workspace of the path, "" for the default one.
func (r *Request) WorkspaceName() string { return r.match.Workspace }

// Controller sets deadlines of this one request.
func (r *Request) Controller() *http.ResponseController { return http.NewResponseController(r.out) }

// Raw reads the body, at most limit bytes. An empty body has no type.
func (r *Request) Raw(limit int64) (body []byte, mediaType string, params map[string]string, err error) {
	body, err = io.ReadAll(http.MaxBytesReader(r.out, r.Body, limit))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return nil, "", nil, err
		}
		return nil, "", nil, Refuse(http.StatusBadRequest, "the body could not be read")
	}
	if len(body) == 0 {
		return nil, "", nil, nil
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return nil, "", nil, &Refusal{Status: http.StatusUnsupportedMediaType}
	}
	mediaType, params, err = mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, "", nil, &Refusal{Status: http.StatusUnsupportedMediaType}
	}
	return body, mediaType, params, nil
}

// The types of bodies that are accepted everywhere.
const (
	TypeJSON      = "application/json"
	TypeForm      = "application/x-www-form-urlencoded"
	TypeMultipart = "multipart/form-data"
)

// Document reads the body as a document of an entity. No body is an empty document.
func (r *Request) Document(s *schema.Schema, e *schema.Entity) (schema.Document, error) {
	body, mediaType, params, err := r.Raw(MaxBodyBytes)
	if err != nil {
		return nil, err
	}
	switch mediaType {
	case "":
		return schema.Document{}, nil
	case TypeJSON:
		return schema.ParseJSON(body)
	case TypeForm:
		return s.ParseForm(e, body)
	case TypeMultipart:
		return s.ParseMultipart(e, body, params["boundary"])
	}
	return nil, &Refusal{Status: http.StatusUnsupportedMediaType}
}

// Argument reads one text out of a body of any type: a form's or a multipart's value, or a member of a JSON
// object. It is nil when it is not there.
func (r *Request) Argument(name string) ([]byte, error) {
	body, mediaType, params, err := r.Raw(MaxBodyBytes)
	if err != nil {
		return nil, err
	}
	return ArgumentOf(body, mediaType, params, name)
}

// ArgumentOf is Argument of a body that is read already.
func ArgumentOf(body []byte, mediaType string, params map[string]string, name string) ([]byte, error) {
	switch mediaType {
	case "":
		return nil, nil
	case TypeJSON:
		doc, err := schema.ParseJSON(body)
		if err != nil {
			return nil, err
		}
		if text, ok := doc[name].(string); ok {
			return []byte(text), nil
		}
		return nil, nil
	case TypeForm:
		return formValue(body, name)
	case TypeMultipart:
		return partValue(body, params["boundary"], name)
	}
	return nil, &Refusal{Status: http.StatusUnsupportedMediaType}
}

// NamesOf are the names of what a body of any type holds, as ArgumentOf reads it.
func NamesOf(body []byte, mediaType string, params map[string]string) (names []string, err error) {
	switch mediaType {
	case TypeJSON:
		doc, err := schema.ParseJSON(body)
		return slices.Sorted(maps.Keys(doc)), err
	case TypeForm:
		values, err := url.ParseQuery(string(body))
		return slices.Sorted(maps.Keys(values)), err
	case TypeMultipart:
		reader := multipart.NewReader(bytes.NewReader(body), params["boundary"])
		for range schema.MaxArguments {
			part, err := reader.NextRawPart()
			if err == io.EOF {
				return names, nil
			}
			if err != nil {
				return nil, schema.ErrForm
			}
			names = append(names, part.FormName())
		}
		return nil, schema.ErrTooManyArguments
	}
	return nil, nil
}

func formValue(body []byte, name string) ([]byte, error) {
	if bytes.Count(body, []byte("&")) >= schema.MaxArguments {
		return nil, schema.ErrTooManyArguments
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, schema.ErrForm
	}
	if !values.Has(name) {
		return nil, nil
	}
	return []byte(values.Get(name)), nil
}

func partValue(body []byte, boundary, name string) ([]byte, error) {
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for range schema.MaxArguments {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			return nil, nil
		}
		if err != nil {
			return nil, schema.ErrForm
		}
		if part.FormName() != name {
			continue
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, schema.ErrForm
		}
		return value, nil
	}
	return nil, schema.ErrTooManyArguments
}

// Flag reads a parameter that is on or off.
func (r *Request) Flag(name string) (bool, error) {
	query := r.URL.Query()
	switch value := strings.ToLower(query.Get(name)); value {
	case "0", "false", "off", "no":
		return false, nil
	case "": // "?dry_run" says it too
		return query.Has(name), nil
	case "1", "true", "on", "yes":
		return true, nil
	}
	return false, Refuse(http.StatusBadRequest, "%s wants 1 or 0", name)
}

// Words reads a parameter that is a list with commas.
func (r *Request) Words(name string) (words []string) {
	for _, given := range r.URL.Query()[name] {
		for word := range strings.SplitSeq(given, ",") {
			if word = strings.TrimSpace(word); word != "" {
				words = append(words, word)
			}
		}
	}
	return words
}

// Demand refuses a caller who may not have secrets revealed.
func (r *Request) Demand(what string) error {
	if r.Privileged {
		if r.Granted != nil {
			return r.Granted(what)
		}
		return nil
	}
	return Refuse(http.StatusForbidden,
		"%s is for callers on this machine, or with the admin token (admin_token_file) in the header Keepgate-Admin-Token", what)
}

// Demanding is a handler for callers alone who may have secrets revealed.
func Demanding(what string, handler Handler) Handler {
	return func(r *Request) (Answer, error) {
		if err := r.Demand(what); err != nil {
			return Answer{}, err
		}
		return handler(r)
	}
}
