package kvmlookup

import (
	"errors"
	"strconv"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// source is where the key is taken from.
type source struct {
	from   string
	name   string
	number int // of a capture without a name, from 1
}

// The values of key_from.
const (
	fromLiteral  = "literal"
	fromHeader   = "header"
	fromQuery    = "query"
	fromCapture  = "path_capture"
	fromID       = "consumer_id"
	fromUsername = "consumer_username"
	fromCustomID = "consumer_custom_id"
	fromAddress  = "client_ip"
)

func sourceOf(from, name string) (source, error) {
	s := source{from: from, name: name}
	switch from {
	case fromID, fromUsername, fromCustomID, fromAddress:
		return s, nil
	case fromLiteral, fromQuery, fromHeader, fromCapture:
	default:
		return s, errors.New("key_from is not known")
	}
	if name == "" {
		return s, errors.New("key_name is missing")
	}
	if from == fromHeader && !exchange.ValidName(name) {
		return s, errors.New("key_name is not the name of a header")
	}
	if from == fromCapture {
		s.number, _ = strconv.Atoi(name) // 0: it is a name
	}
	return s, nil
}

// keyOf returns the key of a request, "" when it says none. One that is said twice is none: whom the request was checked for
// might have gone by the other.
func (i *instance) keyOf(ex *exchange.Exchange) string {
	switch i.key.from {
	case fromLiteral:
		return i.key.name
	case fromHeader:
		if ex.Request.Header.Count(i.key.name) != 1 {
			return ""
		}
		return ex.Request.Header.Get(i.key.name)
	case fromID:
		return ex.Consumer.ID
	case fromUsername:
		return ex.Consumer.Username
	case fromCustomID:
		return ex.Consumer.CustomID
	case fromAddress:
		return addressOf(ex)
	}
	f := i.finders.Get().(*finder)
	f.source = i.key
	if i.key.from == fromQuery {
		plugin.Parameters(ex, i.key.name, f.parameter)
	} else {
		plugin.Captures(ex, f.capture)
	}
	key := f.key
	if f.found != 1 {
		key = ""
	}
	*f = finder{parameter: f.parameter, capture: f.capture}
	i.finders.Put(f)
	return key
}

// maxAddress is the length of the longest address without a zone.
const maxAddress = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")

// addressOf writes the client's address as people do: an IPv4 address is the same in either form, and zones are left out.
func addressOf(ex *exchange.Exchange) string {
	address := ex.Request.ClientAddr.Unmap().WithZone("")
	if !address.IsValid() {
		return ""
	}
	return exchange.View(address.AppendTo(ex.Bytes(maxAddress)[:0]))
}

// finder looks for a key among several values. It is used again, so that its functions are made once.
type finder struct {
	source
	key       string
	found     int
	parameter func(value string)
	capture   func(number int, name, value string)
}

func newFinder() *finder {
	f := &finder{}
	f.parameter = func(value string) { f.key, f.found = value, f.found+1 }
	f.capture = func(number int, name, value string) {
		if f.number > 0 && number == f.number || f.number == 0 && name == f.name {
			f.key, f.found = value, f.found+1
		}
	}
	return f
}
