package requesttransformer

import (
	"bytes"
	"errors"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/jsonobject"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// maxBody is the largest body that is changed, since it has to be held in memory.
const maxBody = 1 << 20

// maxPairs bounds the parameters of a form: each costs many times its bytes.
const maxPairs = 50_000

// media is a kind of body that can be changed.
type media uint8

const (
	other media = iota
	form
	jsonText
	multiple
)

// mediaOf reads the request's Content-Type.
func mediaOf(ex *exchange.Exchange) media {
	text, _, _ := strings.Cut(ex.Request.Header.Get("Content-Type"), ";")
	text = strings.Trim(text, " \t")
	switch {
	case exchange.EqualFold(text, "application/x-www-form-urlencoded"):
		return form
	case exchange.EqualFold(text, "application/json"):
		return jsonText
	case exchange.EqualFold(text, "multipart/form-data"):
		return multiple
	}
	return other
}

// readBody buffers the body.
func readBody(ex *exchange.Exchange) ([]byte, *plugin.Refusal) {
	body, err := ex.BufferBody(maxBody)
	if err == nil {
		return body, nil
	}
	switch exchange.StatusOf(err) {
	case errTooLarge.Status:
		return nil, errTooLarge
	case errSlowBody.Status:
		return nil, errSlowBody
	case errNoRoom.Status:
		return nil, errNoRoom
	}
	return nil, errBody
}

// changeBody changes a body of a kind that we can. Others pass as they are.
func (i *instance) changeBody(ex *exchange.Exchange, w *work) *plugin.Refusal {
	kind := mediaOf(ex)
	if kind == other {
		return nil
	}
	if coding := ex.Request.Header.Get("Content-Encoding"); coding != "" && !exchange.EqualFold(coding, "identity") && ex.Request.HasBody() {
		return errCoding
	}
	body, refusal := readBody(ex)
	if refusal != nil {
		return refusal
	}
	switch kind {
	case form:
		if bytes.Count(body, []byte("&")) >= maxPairs {
			return errTooLarge
		}
		w.parsePairs(ex, exchange.View(body))
		if w.apply(ex, &i.body) {
			ex.SetBody(w.encodePairs(ex))
		}
	case jsonText:
		return i.changeJSON(ex, w, body)
	case multiple:
		return i.changeParts(ex, w, body)
	}
	return nil
}

// changeJSON changes the members of an object. No body is an empty one; other JSON has no names and stays as it is.
func (i *instance) changeJSON(ex *exchange.Exchange, w *work, body []byte) *plugin.Refusal {
	o := &w.object
	o.Reset()
	if len(body) > 0 {
		switch err := o.Parse(body); {
		case errors.Is(err, jsonobject.ErrOther):
			return nil
		case errors.Is(err, jsonobject.ErrMany):
			return errTooLarge
		case err != nil:
			return errBody
		}
	}
	r, changed := &i.body, false
	text := func(a assignment) []byte { return jsonobject.Quote(nil, w.values[a.value]) }
	for _, name := range r.remove {
		changed = o.Remove(name) || changed
	}
	for _, one := range r.rename {
		changed = o.Rename(one.from, one.to) || changed
	}
	for _, a := range r.replace {
		changed = o.Replace(a.name, text(a)) || changed
	}
	for _, a := range r.add {
		changed = o.Add(a.name, text(a)) || changed
	}
	for _, a := range r.append {
		o.Append(a.name, text(a))
		changed = true
	}
	if changed {
		ex.SetBody(o.Encode(make([]byte, 0, len(body)+64)))
	}
	return nil
}
