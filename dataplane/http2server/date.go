package http2server

import (
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/http2server/hpack"
)

const dateLayout = "Mon, 02 Jan 2006 15:04:05 GMT"

// dateField is the encoded Date field of the current second, made once a second.
type dateField struct{ now atomic.Pointer[dated] }

type dated struct {
	second int64
	field  []byte
}

func (d *dateField) at(now time.Time) []byte {
	second := now.Unix()
	if known := d.now.Load(); known != nil && known.second == second {
		return known.field
	}
	made := &dated{second, hpack.AppendField(nil, "date", now.UTC().Format(dateLayout))}
	d.now.Store(made)
	return made.field
}
