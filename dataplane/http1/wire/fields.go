package wire

import (
	"bytes"
	"encoding/binary"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// cutLine cuts the first line of b, which ends in CRLF: the scanner has seen to that.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	return b[:i-1], b[i+1:]
}

// cutField cuts a header line into a checked name and a checked value without surrounding blanks.
func cutField(line []byte) (name, value string, err error) {
	colon := bytes.IndexByte(line, ':')
	switch {
	case line[0] == ' ' || line[0] == '\t':
		return "", "", ObsFold
	case colon < 0:
		return "", "", NoColon
	case colon > 0 && (line[colon-1] == ' ' || line[colon-1] == '\t'):
		return "", "", SpaceBeforeColon
	}
	name = exchange.View(line[:colon])
	if !exchange.ValidName(name) {
		return "", "", BadName
	}
	v := trimBlanks(line[colon+1:])
	if !cleanValue(v) {
		if bytes.IndexByte(v, '\r') >= 0 {
			return "", "", BareCR
		}
		return "", "", BadByte
	}
	return name, exchange.View(v), nil
}

func trimBlanks(v []byte) []byte {
	for len(v) > 0 && (v[0] == ' ' || v[0] == '\t') {
		v = v[1:]
	}
	for len(v) > 0 && (v[len(v)-1] == ' ' || v[len(v)-1] == '\t') {
		v = v[:len(v)-1]
	}
	return v
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// cleanValue says whether v holds only bytes of a field value, eight at a time where none is in doubt.
func cleanValue(v []byte) bool {
	for len(v) >= 8 {
		x := binary.LittleEndian.Uint64(v)
		del := x ^ 0x7F*ones
		// A byte below 0x20, or 0x7F, sets its high bit here; a borrow may set one too many, hence the second look.
		if ((x-0x20*ones)&^x|(del-ones)&^del)&highs != 0 && !exchange.ValidValue(exchange.View(v[:8])) {
			return false
		}
		v = v[8:]
	}
	return exchange.ValidValue(exchange.View(v))
}

// Connection holds what the hop-by-hop fields of a message said.
type Connection struct {
	Length    int64 // Content-Length, -1 when absent
	Chunked   bool
	Close     bool // Connection: close
	KeepAlive bool // Connection: keep-alive
	Upgrade   bool // Connection: upgrade
	Protocol  string
	Trailers  bool // TE: trailers
	Expect    bool // Expect: 100-continue

	lengths, encodings, hosts, upgrades int
	host                                string
	options                             [8]string // values of Connection
	optionLines                         int
}

// maxOptions bounds how many names the Connection fields of one message may list.
const maxOptions = 32

// hop takes a field that ends at this hop. It returns false when the field is an end-to-end one.
func (c *Connection) hop(name, value string) (bool, error) {
	switch len(name) {
	case 2:
		if exchange.EqualFold(name, "TE") {
			c.Trailers = c.Trailers || HasToken(value, "trailers")
			return true, nil
		}
	case 4:
		if exchange.EqualFold(name, "Host") {
			c.hosts++
			c.host = value
			return true, nil
		}
	case 6:
		if exchange.EqualFold(name, "Expect") {
			if !exchange.EqualFold(value, "100-continue") {
				return true, UnknownExpectation
			}
			c.Expect = true
			return true, nil
		}
	case 7:
		if exchange.EqualFold(name, "Upgrade") {
			c.upgrades++
			c.Protocol = value
			return true, nil
		}
		return exchange.EqualFold(name, "Trailer"), nil
	case 10:
		if exchange.EqualFold(name, "Connection") {
			return true, c.option(value)
		}
		return exchange.EqualFold(name, "Keep-Alive"), nil
	case 14:
		if exchange.EqualFold(name, "Content-Length") {
			return true, c.length(value)
		}
		return exchange.EqualFold(name, "HTTP2-Settings"), nil
	case 16:
		return exchange.EqualFold(name, "Proxy-Connection"), nil
	case 17:
		if exchange.EqualFold(name, "Transfer-Encoding") {
			return true, c.encoding(value)
		}
	}
	return false, nil
}

func (c *Connection) length(value string) error {
	if c.lengths++; c.lengths > 1 {
		return TwoLengths
	}
	if value == "" || len(value) > 18 { // 18 digits always fit an int64
		return BadLength
	}
	n := int64(0)
	for i := range len(value) {
		d := value[i] - '0'
		if d > 9 {
			return BadLength
		}
		n = n*10 + int64(d)
	}
	c.Length = n
	return nil
}

func (c *Connection) encoding(value string) error {
	if c.encodings++; c.encodings > 1 {
		return BadEncoding
	}
	if exchange.EqualFold(value, "chunked") {
		c.Chunked = true
		return nil
	}
	if exchange.ValidName(value) {
		return UnknownEncoding
	}
	return BadEncoding
}

func (c *Connection) option(value string) error {
	if c.optionLines == len(c.options) {
		return TooManyOptions
	}
	c.options[c.optionLines] = value
	c.optionLines++
	return nil
}

// settle applies the Connection fields: known options become flags, fields of any other name leave header.
func (c *Connection) settle(header *exchange.Header) error {
	if c.Chunked && c.lengths > 0 {
		return LengthAndEncoding
	}
	names := 0
	for _, list := range c.options[:c.optionLines] {
		for list != "" {
			var name string
			name, list = CutToken(list)
			if name == "" {
				continue
			}
			if names++; names > maxOptions {
				return TooManyOptions
			}
			switch {
			case exchange.EqualFold(name, "close"):
				c.Close = true
			case exchange.EqualFold(name, "keep-alive"):
				c.KeepAlive = true
			case exchange.EqualFold(name, "upgrade"):
				c.Upgrade = true
			default:
				header.Del(name)
			}
		}
	}
	return nil
}

// CutToken cuts the first element of a comma-separated list, blanks around it removed.
func CutToken(list string) (token, rest string) {
	end := 0
	for end < len(list) && list[end] != ',' {
		end++
	}
	token = list[:end]
	if end < len(list) {
		end++
	}
	for token != "" && (token[0] == ' ' || token[0] == '\t') {
		token = token[1:]
	}
	for token != "" && (token[len(token)-1] == ' ' || token[len(token)-1] == '\t') {
		token = token[:len(token)-1]
	}
	return token, list[end:]
}

// HasToken says whether a comma-separated list has that element, case aside.
func HasToken(list, token string) bool {
	for list != "" {
		var t string
		if t, list = CutToken(list); exchange.EqualFold(t, token) {
			return true
		}
	}
	return false
}
