package http2

import (
	"errors"
	"fmt"
	"strings"

	"github.com/keepgate/keepgate/dataplane/http1/client"
)

// Codes of RFC 9113 §7.
const (
	codeProtocol       = 0x1
	codeRefused        = 0x7
	codeEnhanceCalm    = 0xb
	codeHTTP11Required = 0xd
)

// streamError has the fields of the standard library's own, which errors.As copies over.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string {
	return fmt.Sprintf("the upstream reset the stream with code %d", e.Code)
}

// unseen are what the standard library says when the server has not looked at the request and never will; it has no names
// for them.
var unseen = [...]string{
	"http2: client conn not usable",
	"http2: client conn is closed",
	"http2: client conn could not be established",
	"http2: Transport received Server's graceful shutdown GOAWAY",
}

// malformed are parts of what it says about a server that breaks the protocol.
var malformed = [...]string{"header list larger", "frame too large", "PROTOCOL_ERROR", "COMPRESSION_ERROR", "FLOW_CONTROL_ERROR", "FRAME_SIZE_ERROR"}

// classify makes an error of ours of what the standard library said.
func (t *trip) classify(err error) *client.Error {
	var ours *client.Error
	var stream streamError
	switch {
	case errors.As(err, &ours):
		return ours
	case t.up != nil && t.up.fault() != nil:
		return &client.Error{Kind: client.ClientBody, Err: t.up.fault(), Sent: true}
	case t.aborted.Load():
		return &client.Error{Kind: client.ClientGone, Err: errAborted, Sent: true}
	case t.silent.Load():
		return &client.Error{Kind: client.Timeout, Err: errSilent, Sent: true}
	case isUnseen(err):
		kind := client.Closed
		if t.conn.used() {
			kind = client.Stale
			err = errors.Join(client.ErrStale, err)
		}
		return &client.Error{Kind: kind, Err: err}
	case errors.As(err, &stream):
		return ofStream(stream, err)
	}
	for _, part := range malformed {
		if strings.Contains(err.Error(), part) {
			return &client.Error{Kind: client.Malformed, Err: err, Sent: true}
		}
	}
	return &client.Error{Kind: client.Closed, Err: err, Sent: true}
}

func ofStream(stream streamError, err error) *client.Error {
	byPeer := stream.Cause != nil && stream.Cause.Error() == "received from peer"
	switch {
	case byPeer && (stream.Code == codeRefused || stream.Code == codeEnhanceCalm):
		// REFUSED_STREAM says that nothing was done (RFC 9113 §8.7); overload control does the same before it serves.
		return &client.Error{Kind: client.Closed, Err: err, Sent: stream.Code != codeRefused}
	case byPeer && stream.Code == codeHTTP11Required, byPeer && stream.Code != codeProtocol:
		return &client.Error{Kind: client.Closed, Err: err, Sent: true}
	}
	return &client.Error{Kind: client.Malformed, Err: err, Sent: true}
}

func isUnseen(err error) bool {
	text := err.Error()
	for _, known := range unseen {
		if strings.HasSuffix(text, known) {
			return true
		}
	}
	return false
}

// used says whether the connection has carried a request before this one.
func (c *Conn) used() bool {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	return c.uses > 1
}
