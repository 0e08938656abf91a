// Package enrolment is what both planes agree on when a data plane gets its first certificate, and when it is shut out.
//
// A node without a certificate says one JoinRequest over TLS 1.3 with the protocol "keepgate-join/1" (RFC 7301), and
// nothing else over that connection. It shows no certificate: what lets it in is a [Token]. The control plane shows its
// own chain down to the root, and the token names that root by the hash of its public key, so that the node knows whom
// it speaks to before it says the token. One frame goes each way:
//
//	length   4 bytes  big-endian, at most 64 KiB
//	message  n        JoinRequest, JoinResponse (keepgate.enrol.v1)
//
// A [Wipe] ends an enrolment. It is signed, because the one who hands it over may be anybody.
//
// The package decides neither who may join (controlplane/enrol) nor what a node keeps of it (dataplane/enrol).
package enrolment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/proto"
)

const (
	// Protocol is the name of the joining protocol in a TLS handshake (RFC 7301).
	Protocol = "keepgate-join/1"
	// MaxFrame is the most that one message may take.
	MaxFrame = 64 << 10
	// Deadline is the time for a whole exchange, on both sides.
	Deadline = 10 * time.Second
)

const frameHeader = 4

var errFrame = errors.New("the message is longer than any may be")

// WriteFrame sends one message.
func WriteFrame(w io.Writer, message proto.Message) error {
	frame, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, frameHeader), message)
	if err != nil {
		return fmt.Errorf("encoding the message: %w", err)
	}
	defer clear(frame) // it may hold a token
	if len(frame)-frameHeader > MaxFrame {
		return errFrame
	}
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-frameHeader))
	if _, err := w.Write(frame); err != nil {
		return fmt.Errorf("sending the message: %w", err)
	}
	return nil
}

// ReadFrame reads one message into message, and no byte more. A length beyond the bound is refused before anything
// is kept for it.
func ReadFrame(r io.Reader, message proto.Message) error {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return fmt.Errorf("reading the length of a message: %w", err)
	}
	size := binary.BigEndian.Uint32(header[:])
	if size > MaxFrame {
		return errFrame
	}
	frame := make([]byte, size)
	defer clear(frame)
	if _, err := io.ReadFull(r, frame); err != nil {
		return fmt.Errorf("reading a message of %d bytes: %w", size, err)
	}
	if err := proto.Unmarshal(frame, message); err != nil {
		return errors.New("the message cannot be decoded") // what proto says may show bytes of it
	}
	return nil
}
