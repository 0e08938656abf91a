package responsetransformer

import (
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/jsonobject"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

const (
	maxBody  = 8 << 20  // the largest body that is changed
	inArena  = 32 << 10 // a body of a known length up to this one lies in the exchange's arena
	readStep = 16 << 10
)

// changing is one configuration that changes JSON bodies too.
type changing struct {
	instance
	json    rules
	objects *sync.Pool
}

// errBroken is what a client gets instead of a body that ended early or is too large to be changed.
var errBroken = &plugin.Refusal{Status: 502, Message: "An invalid response was received from the upstream server"}

// Access implements plugin.Accesser. It asks the upstream for what can be changed: a whole body without a coding. Else a client could have
// its answer unchanged by asking for it compressed.
func (i *changing) Access(ex *exchange.Exchange, _ *plugin.Runtime) {
	header := &ex.Request.Header
	header.Set("Accept-Encoding", "identity")
	header.Del("Range")
	header.Del("If-Range")
}

// Response implements plugin.Responder.
func (i *changing) Response(ex *exchange.Exchange, _ *plugin.Runtime) {
	changes := i.applies(&ex.Response)
	i.changeHeaders(&ex.Response.Header)
	if !changes {
		return
	}
	if err := i.changeBody(ex); err != nil {
		plugin.Refuse(ex, errBroken)
	}
}

// applies says whether the body is JSON that can be changed: an upstream's, whole, without a coding.
func (i *changing) applies(r *exchange.Response) bool {
	if r.Origin != exchange.Upstream || r.Tunnel != nil || r.Status == 206 {
		return false
	}
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !exchange.EqualFold(strings.Trim(media, " \t"), "application/json") {
		return false
	}
	coding := r.Header.Get("Content-Encoding")
	return coding == "" || exchange.EqualFold(coding, "identity")
}

// changeBody reads the body and puts the changed one in its place. It fails when there is no whole body.
func (i *changing) changeBody(ex *exchange.Exchange) error {
	r := &ex.Response
	if ex.Request.Method == "HEAD" || r.Status == 304 {
		r.ContentLength = -1 // a GET's is not known
		return nil
	}
	body := r.Body
	if r.Stream != nil {
		var err error
		if body, err = readAll(ex, r.Stream, r.ContentLength); err != nil {
			return err
		}
		_ = r.Stream.Close()
		r.Stream = nil
	}
	if len(body) > maxBody {
		return errTooLarge
	}
	o := i.objects.Get().(*jsonobject.Object)
	err := o.Parse(body)
	if err == nil { // what is no object is left as it is, what is no JSON too
		i.json.apply(o)
		body = o.Encode(room(ex, len(body)+len(body)/4+256))
	}
	o.Reset()
	i.objects.Put(o)
	if errors.Is(err, jsonobject.ErrMany) {
		return errTooLarge
	}
	r.Body, r.ContentLength = body, int64(len(body))
	return nil
}

func (r *rules) apply(o *jsonobject.Object) {
	for _, name := range r.remove {
		o.Remove(name)
	}
	for _, one := range r.rename {
		o.Rename(one.from, one.to)
	}
	for _, a := range r.replace {
		o.Replace(a.name, a.json)
	}
	for _, a := range r.add {
		o.Add(a.name, a.json)
	}
	for _, a := range r.append {
		o.Append(a.name, a.json)
	}
}

var errTooLarge = errors.New("the body is too large to be changed")

// readAll reads a stream of a length, -1 when it is not known, to its end.
func readAll(ex *exchange.Exchange, stream io.Reader, length int64) ([]byte, error) {
	if length > maxBody {
		return nil, errTooLarge
	}
	b := room(ex, int(max(length, readStep-1))+1) // one more: the read that tells the end wants room
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := stream.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > maxBody:
			return nil, errTooLarge
		case err == io.EOF:
			return b, nil
		case err != nil:
			return nil, err
		}
	}
}

// room is an empty slice of at least a capacity.
func room(ex *exchange.Exchange, n int) []byte {
	if n <= inArena {
		return ex.Bytes(n)[:0]
	}
	return make([]byte, 0, n)
}
