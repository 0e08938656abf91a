// Package proxycache is the plugin proxy-cache: it answers requests with responses that were given before.
//
// Whether a request may be answered so, and by what name (access.go, key.go), whether a response may be kept (keep.go) and how long it
// is of use (control.go) follows Kong, and RFC 9111 wherever that is stricter. Where responses lie is dataplane/cachestore's; what
// one looks like there, value.go's. Purges come with the configuration (purges.go).
package proxycache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/cachestore"
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

const (
	name          = "proxy-cache"
	defaultMemory = 64 << 20
	defaultEntry  = 8 << 20
	// recordRoom is how much memory responses may take while they come in.
	recordRoom = 64 << 20
	// forever is the longest time in seconds that counts (RFC 9111 §1.2.2).
	forever = 1 << 31
)

// Options tunes a Kind. The zero value keeps responses in memory alone.
type Options struct {
	Cache    *cachestore.Cache // default: one of 64 MiB without a disk
	MaxEntry int64             // the largest response that is kept; default 8 MiB
}

// Kind is the plugin.
type Kind struct{ shared *shared }

// shared is what the instances of all configurations have in common.
type shared struct {
	cache     *cachestore.Cache
	maxEntry  int64
	recording atomic.Int64 // bytes of responses that are coming in
	passings  sync.Pool    // of *passing
	scratch   sync.Pool    // of *scratch
}

// New makes the plugin.
func New(o Options) Kind {
	if o.Cache == nil {
		o.Cache = cachestore.New(cachestore.Options{Memory: defaultMemory})
	}
	if o.MaxEntry <= 0 {
		o.MaxEntry = defaultEntry
	}
	return Kind{&shared{
		cache: o.Cache, maxEntry: o.MaxEntry, passings: sync.Pool{New: func() any { return new(passing) }},
		scratch: sync.Pool{New: func() any { return new(scratch) }},
	}}
}

// Name implements plugin.Kind.
func (Kind) Name() string { return name }

// Priority implements plugin.Kind.
func (Kind) Priority() int { return 100 }

// Run implements plugin.Runner: it writes to the disk.
func (k Kind) Run(ctx context.Context) error { return k.shared.cache.Run(ctx) }

// New implements plugin.Kind.
func (k Kind) New(config []byte, env plugin.Env) (any, error) {
	var c pluginv1.ProxyCache
	if err := proto.Unmarshal(config, &c); err != nil {
		return nil, errors.New("configuration cannot be decoded")
	}
	i := &instance{
		shared: k.shared, slot: env.Slot, id: env.ID, workspace: env.Workspace, statuses: c.GetResponseCode().GetValues(),
		methods: c.GetRequestMethod().GetValues(), ttl: min(c.GetCacheTtl(), forever), storageTTL: min(c.GetStorageTtl(), forever), control: c.GetCacheControl(),
		foldPath: c.GetIgnoreUriCase(), parameters: c.GetVaryQueryParams().GetValues(),
		age: c.GetResponseHeaders().GetAge(), tellsStatus: c.GetResponseHeaders().GetXCacheStatus(), tellsKey: c.GetResponseHeaders().GetXCacheKey(),
	}
	switch c.GetStrategy() {
	case "memory":
	case "disk":
		i.disk = true
	default:
		return nil, errors.New("strategy is not known")
	}
	if i.ttl <= 0 {
		return nil, errors.New("cache_ttl is not above 0")
	}
	for _, header := range c.GetVaryHeaders().GetValues() {
		if !exchange.ValidName(header) {
			return nil, errors.New("vary_headers holds what is no header's name")
		}
		i.headers = append(i.headers, strings.ToLower(header))
	}
	slices.Sort(i.headers)
	i.headers = slices.Compact(i.headers)
	for _, text := range c.GetContentType().GetValues() {
		i.types = append(i.types, parseMedia(text))
	}
	i.naming = fmt.Sprintf("%d %t %t %q", env.Created, i.foldPath, i.parameters != nil, i.parameters)
	if i.disk {
		k.shared.cache.WantDisk()
	}
	return i, nil
}

// instance is one configuration.
type instance struct {
	shared        *shared
	slot          int
	id, workspace string

	statuses        []int64
	methods         []string
	types           []media
	ttl, storageTTL int64
	disk            bool
	control         bool
	foldPath        bool
	parameters      []string // nil: all
	headers         []string // in lower case, sorted
	naming          string   // what names of responses depend on, beside the request

	age, tellsStatus, tellsKey bool
}

// What X-Cache-Status says.
const (
	statusHit     = "Hit"
	statusMiss    = "Miss"
	statusRefresh = "Refresh"
	statusBypass  = "Bypass"
)
