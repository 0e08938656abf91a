package requesttransformer

import (
	"fmt"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// checkHeaders refuses names that are none, and those that the gateway speaks by: what it says of a message's shape and of who
// the client is would be another's word. They may be removed and read. The host may be replaced.
func (r *rules) checkHeaders() error {
	read := append([]string(nil), r.remove...)
	var written []string
	for _, one := range r.rename {
		read, written = append(read, one.from), append(written, one.to)
	}
	for _, a := range r.replace {
		if !exchange.EqualFold(a.name, "host") {
			written = append(written, a.name)
		}
	}
	for _, list := range [][]assignment{r.add, r.append} {
		for _, a := range list {
			written = append(written, a.name)
		}
	}
	for _, name := range append(read, written...) {
		if !exchange.ValidName(name) {
			return fmt.Errorf("'%s' is not the name of a header", name)
		}
	}
	for _, name := range written {
		if plugin.Reserved(name) {
			return fmt.Errorf("the header '%s' is the gateway's own to write", name)
		}
	}
	return nil
}

// changeHeaders changes the headers. It fails when the host would be none.
func (i *instance) changeHeaders(ex *exchange.Exchange, w *work) bool {
	header, r := &ex.Request.Header, &i.headers
	for _, name := range r.remove {
		header.DelLoose(name) // what is put in its place is not beside what the client claimed
	}
	for _, one := range r.rename {
		if exchange.EqualFold(one.from, one.to) || !header.Has(one.from) {
			continue
		}
		header.Del(one.to)
		for n, count := 0, header.Len(); n < count; n++ {
			if f := header.At(n); exchange.EqualFold(f.Name, one.from) {
				header.AddParsed(one.to, f.Value)
			}
		}
		header.Del(one.from)
	}
	for _, a := range r.replace {
		value := w.values[a.value]
		if exchange.EqualFold(a.name, "host") {
			if !validHost(value) {
				return false
			}
			ex.Rewritten.Host = value
		} else if header.Has(a.name) {
			header.Set(a.name, value)
		}
	}
	for _, a := range r.add {
		if !header.Has(a.name) {
			header.Add(a.name, w.values[a.value])
		}
	}
	for _, a := range r.append {
		header.Add(a.name, w.values[a.value])
	}
	return true
}

// validHost says whether text is a host name or address with an optional port, as far as its bytes go.
func validHost(text string) bool {
	host, port := exchange.SplitHost(text)
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return false
		}
	}
	for i := range len(host) {
		switch c := host[i]; {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', c == '-', c == '.', c == '_':
		case c == '[' && i == 0, c == ']' && i == len(host)-1 && host[0] == '[', c == ':' && host[0] == '[':
		default:
			return false
		}
	}
	return host != "" && len(port) <= 5
}
