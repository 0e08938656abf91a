package wire

import (
	"github.com/keepgate/keepgate/dataplane/exchange"
)

// ParseResponse parses a whole head into status and ex.Response.Header; the head must lie in ex's arena. The
// framing is in c: Chunked, Length, or neither (the body ends with the connection).
func ParseResponse(ex *exchange.Exchange, head []byte, c *Connection) (status int, err error) {
	*c = Connection{Length: -1}
	line, rest := cutLine(head)
	status, old, err := statusLine(line)
	if err != nil {
		return 0, err
	}
	header := &ex.Response.Header
	for len(rest) > 2 {
		line, rest = cutLine(rest)
		name, value, err := cutField(line)
		if err != nil {
			return 0, err
		}
		hop, err := c.hop(name, value)
		if err != nil && err != UnknownExpectation {
			return 0, err
		}
		if !hop {
			header.AddParsed(name, value)
		}
	}
	if err := c.settle(header); err != nil {
		return 0, err
	}
	if old {
		if c.Chunked {
			return 0, EncodingInOld
		}
		c.Close = c.Close || !c.KeepAlive
	}
	return status, nil
}

// statusLine parses "HTTP/1.x SP status [SP reason]", RFC 9112 §4. The reason is not kept.
func statusLine(line []byte) (status int, old bool, err error) {
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[7] != '1' && line[7] != '0' || line[8] != ' ' {
		return 0, false, BadStatusLine
	}
	for _, b := range line[9:12] {
		if !digit(b) {
			return 0, false, BadStatusLine
		}
		status = status*10 + int(b-'0')
	}
	if status < 100 || status > 599 || len(line) > 12 && (line[12] != ' ' || !cleanValue(line[13:])) {
		return 0, false, BadStatusLine
	}
	return status, line[7] == '0', nil
}

// Bodiless says whether a response of that status to that method has no body, whatever its fields
// say (RFC 9112 §6.3).
func Bodiless(method string, status int) bool {
	return method == "HEAD" || status < 200 || status == 204 || status == 304
}
