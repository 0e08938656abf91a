package http2server

import (
	"encoding/binary"
	"fmt"
)

// preface is what a client opens a connection with, RFC 9113 §3.4.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Frames and their flags, RFC 9113 §6.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameReset        = 0x3
	frameSettings     = 0x4
	framePush         = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindow       = 0x8
	frameContinuation = 0x9

	flagAck        = 0x1
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20

	frameHead = 9     // bytes before the payload
	maxFrame  = 16384 // the least that everybody takes, and the most that we do: RFC 9113 §4.2
	maxWindow = 1<<31 - 1
)

// code is a reason to end a stream or a connection, RFC 9113 §7. As an error it ends the connection.
type code uint32

const (
	codeNone      code = 0x0
	codeProtocol  code = 0x1
	codeInternal  code = 0x2
	codeFlow      code = 0x3
	codeClosed    code = 0x5
	codeFrameSize code = 0x6
	codeRefused   code = 0x7
	codeCancel    code = 0x8
	codeFields    code = 0x9
	codeCalm      code = 0xb
)

func (c code) Error() string { return fmt.Sprintf("HTTP/2 error code %d", uint32(c)) }

// frame is the head of one.
type frame struct {
	length int
	kind   uint8
	flags  uint8
	stream uint32
}

func parseFrame(b []byte) frame {
	return frame{int(b[0])<<16 | int(b[1])<<8 | int(b[2]), b[3], b[4], binary.BigEndian.Uint32(b[5:]) & maxWindow}
}

func (f frame) has(flag uint8) bool { return f.flags&flag != 0 }

// putFrame writes the head of a frame over the first bytes of b.
func putFrame(b []byte, length int, kind, flags uint8, stream uint32) {
	b[0], b[1], b[2], b[3], b[4] = byte(length>>16), byte(length>>8), byte(length), kind, flags
	binary.BigEndian.PutUint32(b[5:], stream)
}

func appendFrame(w []byte, length int, kind, flags uint8, stream uint32) []byte {
	w = append(w, byte(length>>16), byte(length>>8), byte(length), kind, flags)
	return binary.BigEndian.AppendUint32(w, stream)
}

func appendReset(w []byte, stream uint32, why code) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(w, 4, frameReset, 0, stream), uint32(why))
}

func appendWindow(w []byte, stream uint32, n int64) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(w, 4, frameWindow, 0, stream), uint32(n))
}

func appendGoAway(w []byte, last uint32, why code) []byte {
	w = appendFrame(w, 8, frameGoAway, 0, 0)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(w, last), uint32(why))
}

func appendPing(w []byte, flags uint8, data []byte) []byte {
	return append(appendFrame(w, 8, framePing, flags, 0), data[:8]...)
}

// Settings, RFC 9113 §6.5.2.
const (
	settingTable     = 0x1
	settingPush      = 0x2
	settingStreams   = 0x3
	settingWindow    = 0x4
	settingFrame     = 0x5
	settingFields    = 0x6
	defaultWindow    = 65535
	settingSize      = 6
	maxSettingsBytes = 64 * settingSize
)

func appendSetting(w []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(w, id), value)
}
