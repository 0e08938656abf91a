package requesttransformer

import (
	"errors"
	"slices"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/shared/reserved"
)

// checkHeaders refuses what a configuration is refused for.
func (r *rules) checkHeaders() error {
	changes := reserved.Changes{Read: slices.Clone(r.remove)}
	for _, one := range r.rename {
		changes.Read, changes.Renamed = append(changes.Read, one.from), append(changes.Renamed, one.to)
	}
	for into, list := range map[*[]string][]assignment{&changes.Replace: r.replace, &changes.Set: slices.Concat(r.add, r.append)} {
		for _, a := range list {
			*into = append(*into, a.name)
		}
	}
	if wrong := changes.OfRequest(); wrong != "" {
		return errors.New(wrong)
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
