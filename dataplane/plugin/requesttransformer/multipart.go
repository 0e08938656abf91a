package requesttransformer

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// maxParts bounds the parts of a multipart body: each costs many times its bytes.
const maxParts = 1000

// parts are those of a multipart body.
type parts struct {
	list    []formPart
	changed bool
}

type formPart struct {
	header  textproto.MIMEHeader
	name    string
	content []byte
	made    bool // of a value of ours
}

// changeParts changes the parts of a multipart body. No body is one without parts.
func (i *instance) changeParts(ex *exchange.Exchange, w *work, body []byte) *plugin.Refusal {
	_, parameters, err := mime.ParseMediaType(ex.Request.Header.Get("Content-Type"))
	if err != nil || parameters["boundary"] == "" {
		return errBody
	}
	p, err := readParts(body, parameters["boundary"])
	if err != nil {
		return errBody
	}
	p.apply(&i.body, w)
	if !p.changed {
		return nil
	}
	made, err := p.encode(parameters["boundary"])
	if err != nil {
		return errBody
	}
	ex.SetBody(made)
	return nil
}

func readParts(body []byte, boundary string) (p parts, err error) {
	if len(body) == 0 {
		return p, nil
	}
	for reader := multipart.NewReader(bytes.NewReader(body), boundary); ; {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			return p, nil
		}
		if err != nil {
			return p, err
		}
		if len(p.list) == maxParts {
			return p, multipart.ErrMessageTooLarge
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return p, err
		}
		p.list = append(p.list, formPart{part.Header, part.FormName(), content, false})
	}
}

func (p *parts) apply(r *rules, w *work) {
	for _, name := range r.remove {
		p.drop(0, name)
	}
	for _, one := range r.rename {
		if one.from == one.to || p.find(one.from) < 0 {
			continue
		}
		p.drop(0, one.to)
		for n := range p.list {
			if p.list[n].name == one.from {
				p.list[n].rename(one.to)
			}
		}
		p.changed = true
	}
	for _, a := range r.replace {
		if at := p.find(a.name); at >= 0 {
			p.list[at] = simplePart(a.name, w.values[a.value])
			p.drop(at+1, a.name)
			p.changed = true
		}
	}
	for _, a := range r.add {
		if p.find(a.name) < 0 {
			p.append(a.name, w.values[a.value])
		}
	}
	for _, a := range r.append {
		p.append(a.name, w.values[a.value])
	}
}

func (p *parts) find(name string) int {
	for n := range p.list {
		if p.list[n].name == name {
			return n
		}
	}
	return -1
}

func (p *parts) append(name, value string) {
	p.list = append(p.list, simplePart(name, value))
	p.changed = true
}

// drop removes the parts of that name from a place on.
func (p *parts) drop(start int, name string) {
	kept := p.list[:start]
	for _, one := range p.list[start:] {
		if one.name != name {
			kept = append(kept, one)
		}
	}
	p.changed = p.changed || len(kept) < len(p.list)
	p.list = kept
}

func simplePart(name, value string) formPart {
	p := formPart{textproto.MIMEHeader{}, name, []byte(value), true}
	p.rename(name)
	return p
}

// rename gives a part another name, and keeps what else its Content-Disposition says.
func (p *formPart) rename(name string) {
	_, parameters, err := mime.ParseMediaType(p.header.Get("Content-Disposition"))
	if err != nil {
		parameters = map[string]string{}
	}
	parameters["name"] = name
	p.name = name
	p.header.Set("Content-Disposition", mime.FormatMediaType("form-data", parameters))
}

func (p *parts) encode(boundary string) ([]byte, error) {
	var body bytes.Buffer
	writer := multipart.NewWriter(&body)
	if err := writer.SetBoundary(boundary); err != nil {
		return nil, err
	}
	delimiter := []byte("--" + boundary)
	for _, one := range p.list {
		if one.made && bytes.Contains(one.content, delimiter) {
			return nil, errors.New("a value would end its part")
		}
		to, err := writer.CreatePart(one.header)
		if err != nil {
			return nil, err
		}
		_, _ = to.Write(one.content) // a bytes.Buffer does not fail
	}
	err := writer.Close()
	return body.Bytes(), err
}
