// Package wire reads HTTP/1.1 messages strictly: heads, framing, chunked bodies, trailers (RFC 9112).
//
// It is the part that both sides of the engine share, and it never guesses: whatever two servers could
// read differently is a [Fault]. Bytes come from an [Input]; parsed strings are views of the bytes that the
// caller put into an exchange's arena. It writes nothing and knows no sockets.
package wire

// Fault is a reason to refuse a message. It is an error without allocation; Status is the answer to a
// client (an upstream's fault is always 502).
type Fault uint8

// The faults, named after what was found.
const (
	_ Fault = iota
	BareLF
	BareCR
	BadByte
	ObsFold
	BadName
	SpaceBeforeColon
	NoColon
	BadRequestLine
	BadTarget
	TargetTooLong
	BadMethod
	MethodNotServed
	BadVersion
	UnknownVersion
	BadHost
	NoHost
	TwoHosts
	HostMismatch
	BadLength
	TwoLengths
	LengthAndEncoding
	BadEncoding
	UnknownEncoding
	EncodingInOld
	TooManyOptions
	UnknownExpectation
	HeadTooLarge
	TooManyFields
	SlowHead
	BadStatusLine
	BadChunk
	ChunkLineTooLong
	BadTrailer
)

var faults = [...]struct {
	status int
	text   string
}{
	BareLF:             {400, "a line ends in LF without CR"},
	BareCR:             {400, "CR without LF"},
	BadByte:            {400, "control byte in a field value"},
	ObsFold:            {400, "folded header line"},
	BadName:            {400, "header name is no token"},
	SpaceBeforeColon:   {400, "space before the colon of a header"},
	NoColon:            {400, "header line without a colon"},
	BadRequestLine:     {400, "malformed request line"},
	BadTarget:          {400, "malformed request target"},
	TargetTooLong:      {414, "request line too long"},
	BadMethod:          {400, "method is no token"},
	MethodNotServed:    {501, "CONNECT is not served"},
	BadVersion:         {400, "malformed HTTP version"},
	UnknownVersion:     {505, "HTTP version not served"},
	BadHost:            {400, "malformed Host"},
	NoHost:             {400, "no Host"},
	TwoHosts:           {400, "more than one Host"},
	HostMismatch:       {400, "absolute request target and Host differ"},
	BadLength:          {400, "Content-Length is no number"},
	TwoLengths:         {400, "more than one Content-Length"},
	LengthAndEncoding:  {400, "Content-Length beside Transfer-Encoding"},
	BadEncoding:        {400, "malformed or repeated Transfer-Encoding"},
	UnknownEncoding:    {501, "transfer coding other than chunked"},
	EncodingInOld:      {400, "Transfer-Encoding in HTTP/1.0"},
	TooManyOptions:     {400, "too many connection options"},
	UnknownExpectation: {417, "unknown expectation"},
	HeadTooLarge:       {431, "header too large"},
	TooManyFields:      {431, "too many header fields"},
	SlowHead:           {408, "head not received in time"},
	BadStatusLine:      {502, "malformed status line"},
	BadChunk:           {400, "malformed chunk"},
	ChunkLineTooLong:   {400, "chunk line too long"},
	BadTrailer:         {400, "malformed or oversized trailer"},
}

// Status is what to answer a client whose request has the fault.
func (f Fault) Status() int { return faults[f].status }

func (f Fault) Error() string { return faults[f].text }
