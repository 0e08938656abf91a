package enrolment_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
)

func TestFrames(t *testing.T) {
	t.Parallel()
	var wire bytes.Buffer
	said := &enrolv1.JoinRequest{Token: "t", Request: []byte{1}, Name: "n"}
	if err := enrolment.WriteFrame(&wire, said); err != nil {
		t.Fatal(err)
	}
	const golden = "000000090a01741201011a016e"
	if got := hex.EncodeToString(wire.Bytes()); got != golden {
		t.Errorf("the frame is %s, want %s", got, golden)
	}
	wire.WriteString("more")
	var heard enrolv1.JoinRequest
	if err := enrolment.ReadFrame(&wire, &heard); err != nil || !proto.Equal(said, &heard) || wire.String() != "more" {
		t.Errorf("heard %v, %v; left %q", &heard, err, wire.String())
	}
	if err := enrolment.WriteFrame(io.Discard, &enrolv1.JoinRequest{Request: make([]byte, enrolment.MaxFrame)}); err == nil {
		t.Error("a message that is too long was sent")
	}
}

// endless would give bytes for ever: a reader that believes a length finds out here.
type endless struct{ given int }

func (e *endless) Read(data []byte) (int, error) {
	e.given += len(data)
	for i := range data {
		data[i] = 0xff
	}
	return len(data), nil
}

func TestReadFrameRefuses(t *testing.T) {
	t.Parallel()
	for name, wire := range map[string]string{
		"nothing": "", "half a length": "\x00\x00", "cut": "\x00\x00\x00\x05ab", "no message": "\x00\x00\x00\x03\xff\xff\xff",
		"a length beyond the bound": "\x00\x01\x00\x01" + strings.Repeat("a", 65537),
	} {
		if err := enrolment.ReadFrame(strings.NewReader(wire), new(enrolv1.JoinRequest)); err == nil {
			t.Errorf("%s: it was read", name)
		}
	}
	source := &endless{}
	if err := enrolment.ReadFrame(source, new(enrolv1.JoinRequest)); err == nil || source.given > 4 {
		t.Errorf("%v after %d bytes", err, source.given)
	}
	if err := enrolment.ReadFrame(strings.NewReader(""), new(enrolv1.JoinRequest)); !errors.Is(err, io.EOF) {
		t.Errorf("a closed connection: %v", err)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x09\x0a\x01t\x12\x01\x01\x1a\x01n"))
	f.Add([]byte("\x00\x00\x00\x00"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		var message enrolv1.JoinRequest
		rest := bytes.NewReader(wire)
		if err := enrolment.ReadFrame(rest, &message); err != nil {
			return
		}
		var again bytes.Buffer
		if err := enrolment.WriteFrame(&again, &message); err != nil {
			t.Fatal(err)
		}
		var read enrolv1.JoinRequest
		if err := enrolment.ReadFrame(&again, &read); err != nil || !proto.Equal(&message, &read) {
			t.Errorf("%v is read back as %v, %v", &message, &read, err)
		}
	})
}
