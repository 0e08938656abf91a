// Package requestsizelimiting is the plugin request-size-limiting: it refuses large request bodies.
//
// A declared length is judged before a byte is read; a body without one is cut off where it passes the limit,
// while it streams. Nothing is held in memory.
package requestsizelimiting

import (
	"errors"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

const (
	name        = "request-size-limiting"
	defaultSize = 128
)

// Kind is the plugin.
type Kind struct{}

// Name implements plugin.Kind.
func (Kind) Name() string { return name }

// Priority implements plugin.Kind.
func (Kind) Priority() int { return 951 }

// New implements plugin.Kind.
func (Kind) New(config []byte, _ plugin.Env) (any, error) {
	var c pluginv1.RequestSizeLimiting
	if err := proto.Unmarshal(config, &c); err != nil {
		return nil, errors.New("configuration cannot be decoded")
	}
	size, unit := int64(defaultSize), int64(0)
	if c.AllowedPayloadSize != nil {
		size = c.GetAllowedPayloadSize()
	}
	switch c.GetSizeUnit() {
	case "", "megabytes":
		unit = 1 << 20
	case "kilobytes":
		unit = 1 << 10
	case "bytes":
		unit = 1
	default:
		return nil, errors.New("size_unit is not known")
	}
	if size < 0 {
		return nil, errors.New("allowed_payload_size is negative")
	}
	limit := int64(math.MaxInt64)
	if size <= math.MaxInt64/unit {
		limit = size * unit
	}
	return &instance{limit: limit, lengthRequired: c.GetRequireContentLength()}, nil
}

// instance is one configuration.
type instance struct {
	limit          int64 // bytes
	lengthRequired bool
}

var (
	errTooLarge = &plugin.Refusal{Status: 413, Message: "Request size limit exceeded"}
	errExpected = &plugin.Refusal{Status: 417, Message: "Request size limit exceeded"}
	errLength   = &plugin.Refusal{Status: 411, Message: "A valid Content-Length header is required"}
)

// Access implements plugin.Accesser.
func (i *instance) Access(ex *exchange.Exchange, _ *plugin.Runtime) {
	request := &ex.Request
	switch {
	case request.ContentLength > i.limit && request.ExpectContinue:
		plugin.Refuse(ex, errExpected)
	case request.ContentLength > i.limit:
		plugin.Refuse(ex, errTooLarge)
	case request.ContentLength >= 0:
	case i.lengthRequired:
		plugin.Refuse(ex, errLength)
	case i.limit == 0: // BodyLimit cannot say "nothing"
		if _, err := ex.BufferBody(0); exchange.StatusOf(err) == errTooLarge.Status {
			plugin.Refuse(ex, errTooLarge)
		}
	case request.BodyLimit == 0 || request.BodyLimit > i.limit:
		request.BodyLimit = i.limit
	}
}

// Response implements plugin.Responder: a body that was cut off at our limit is answered in our words.
func (i *instance) Response(ex *exchange.Exchange, _ *plugin.Runtime) {
	if ex.Response.Status != errTooLarge.Status || ex.Response.Origin != exchange.Gateway || ex.Request.BodyLimit != i.limit {
		return
	}
	if refusal := plugin.RefusalOf(ex); refusal != nil && ex.Response.Body == nil {
		plugin.Refuse(ex, errTooLarge)
	}
}
