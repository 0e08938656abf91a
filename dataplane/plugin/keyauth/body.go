package keyauth

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/url"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/jsonobject"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// maxBody is the largest body that is searched for a key, since it has to be held in memory.
const maxBody = 1 << 20

// maxParts bounds the parts of a multipart body: each costs many times its bytes.
const maxParts = 1000

// form is a request's body as far as keys can stand in it. The zero value is an empty one.
type form struct {
	values url.Values         // of a form
	object *jsonobject.Object // nil when the body is no JSON
	parts  []part             // of a multipart body
	bound  string
}

type part struct {
	header  map[string][]string
	name    string
	content []byte
}

// readForm buffers and parses the body. No body is an empty form.
func readForm(ex *exchange.Exchange) (*form, *plugin.Refusal) {
	if !ex.Request.HasBody() {
		return &form{}, nil
	}
	media, parameters, err := mime.ParseMediaType(ex.Request.Header.Get("Content-Type"))
	if err != nil {
		return nil, errBody
	}
	body, err := ex.BufferBody(maxBody)
	if err != nil {
		switch exchange.StatusOf(err) {
		case errTooLarge.Status:
			return nil, errTooLarge
		case errNoRoom.Status:
			return nil, errNoRoom
		}
		return nil, errBody
	}
	f := &form{}
	switch media {
	case "application/x-www-form-urlencoded":
		f.values, err = url.ParseQuery(string(body))
	case "application/json":
		f.object = new(jsonobject.Object)
		err = f.object.Parse(body)
	case "multipart/form-data":
		f.bound = parameters["boundary"]
		f.parts, err = readParts(body, f.bound)
	default:
		return nil, errBody
	}
	if err != nil {
		return nil, errBody
	}
	return f, nil
}

func readParts(body []byte, boundary string) ([]part, error) {
	var parts []part
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		p, err := reader.NextRawPart()
		if err == io.EOF {
			return parts, nil
		}
		if err != nil {
			return nil, err
		}
		if len(parts) == maxParts {
			return nil, multipart.ErrMessageTooLarge
		}
		content, err := io.ReadAll(p)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part{p.Header, p.FormName(), content})
	}
}

// find returns the value of that name and how often it stands there. What is no text counts as a duplicate
// when it is a list and is not found otherwise.
func (f *form) find(name string) (value string, count int) {
	if values := f.values[name]; len(values) > 0 {
		return values[0], len(values)
	}
	if f.object != nil {
		return f.member(name)
	}
	for _, p := range f.parts {
		if p.name == name {
			value = string(p.content)
			count++
		}
	}
	return value, count
}

// member is find in a JSON object.
func (f *form) member(name string) (value string, count int) {
	written, count := f.object.Lookup(name)
	switch {
	case count == 0:
		return "", 0
	case count > 1, written[0] == '[':
		return "", 2
	case written[0] != '"' || json.Unmarshal(written, &value) != nil:
		return "", 0
	}
	return value, 1
}

// remove takes name out of the request's body, when it is in there.
func (f *form) remove(ex *exchange.Exchange, name string) {
	if _, count := f.find(name); count == 0 {
		return
	}
	switch {
	case f.values != nil:
		f.values.Del(name)
		ex.SetBody([]byte(f.values.Encode()))
	case f.object != nil:
		f.object.Remove(name)
		ex.SetBody(f.object.Encode(nil))
	default:
		f.removePart(ex, name)
	}
}

func (f *form) removePart(ex *exchange.Exchange, name string) {
	var body bytes.Buffer
	writer := multipart.NewWriter(&body)
	if writer.SetBoundary(f.bound) != nil {
		return
	}
	for _, p := range f.parts {
		if p.name == name {
			continue
		}
		if to, err := writer.CreatePart(p.header); err == nil {
			_, _ = to.Write(p.content) // a bytes.Buffer does not fail
		}
	}
	if writer.Close() == nil {
		ex.SetBody(body.Bytes())
	}
}
