package status

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keepgate/keepgate/dataplane/cachestore"
)

// Cache is what a node says of the responses that it keeps.
type Cache struct {
	Memory cachestore.Usage
	Disk   *cachestore.Usage // nil: there is none
	Misses uint64
}

// cacheDocument is the cache in GET /status.
func cacheDocument(c Cache) map[string]any {
	tier := func(u cachestore.Usage) map[string]any {
		return map[string]any{
			"entries": u.Entries, "bytes": u.Bytes, "limit": u.Limit, "hits": u.Hits, "kept": u.Kept, "evicted": u.Evicted, "lost": u.Lost, "damaged": u.Damaged,
		}
	}
	document := map[string]any{"memory": tier(c.Memory), "disk": nil, "misses": c.Misses}
	if c.Disk != nil {
		disk := tier(*c.Disk)
		if disk["failing"] = c.Disk.Failing; c.Disk.Failing {
			disk["tried"], disk["again"] = c.Disk.Tried, c.Disk.Again
		}
		document["disk"] = disk
	}
	return document
}

// showKept answers GET /proxy-cache/{key}: never with what a response says.
func showKept(w http.ResponseWriter, r *http.Request, node Node) {
	key := r.PathValue("key")
	kept := node.Kept(key)
	if len(kept) == 0 {
		write(w, http.StatusNotFound, map[string]any{"message": "Not found"})
		return
	}
	write(w, http.StatusOK, map[string]any{"key": key, "data": kept})
}

// caching are the metrics of the cache.
type caching struct {
	ask                                                                             func() Cache
	entries, bytes, limit, hits, misses, kept, evicted, lost, fault, failing, tried *prometheus.Desc
}

// NewCaching makes them; ask is called at every scrape.
func NewCaching(ask func() Cache) prometheus.Collector {
	describe := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("keepgate_proxy_cache_"+name, help, []string{"tier"}, nil)
	}
	return &caching{
		ask:     ask,
		entries: describe("entries", "Responses that proxy-cache keeps."),
		bytes:   describe("bytes", "Bytes that they take."),
		limit:   describe("limit_bytes", "Bytes that they may take."),
		hits:    describe("hits_total", "Requests that were answered from the cache since the start."),
		kept:    describe("kept_total", "Responses that were put into the cache since the start."),
		evicted: describe("evicted_total", "Responses that gave way to others since the start."),
		lost:    describe("lost_total", "Responses that could not be kept since the start: too many at a time, or the disk failed."),
		fault:   describe("damaged_total", "Responses on the disk that did not open since the start."),
		failing: describe("failing", "1 while the disk takes no responses or cannot be opened; it is tried again after a pause."),
		tried:   describe("tried_timestamp_seconds", "When a disk that fails was tried last; it is tried again when a response is to be kept, after a pause."),
		misses:  prometheus.NewDesc("keepgate_proxy_cache_misses_total", "Requests that could have been answered from the cache and were not, since the start.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *caching) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.entries, c.bytes, c.limit, c.hits, c.kept, c.evicted, c.lost, c.fault, c.failing, c.tried, c.misses} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *caching) Collect(to chan<- prometheus.Metric) {
	now := c.ask()
	tier := func(name string, u cachestore.Usage) {
		for d, value := range map[*prometheus.Desc]float64{c.entries: float64(u.Entries), c.bytes: float64(u.Bytes), c.limit: float64(u.Limit)} {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, name)
		}
		for d, value := range map[*prometheus.Desc]uint64{c.hits: u.Hits, c.kept: u.Kept, c.evicted: u.Evicted, c.lost: u.Lost, c.fault: u.Damaged} {
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), name)
		}
	}
	tier("memory", now.Memory)
	if now.Disk != nil {
		tier("disk", *now.Disk)
		failing := 0.0
		if now.Disk.Failing {
			failing = 1
			to <- prometheus.MustNewConstMetric(c.tried, prometheus.GaugeValue, float64(now.Disk.Tried), "disk")
		}
		to <- prometheus.MustNewConstMetric(c.failing, prometheus.GaugeValue, failing, "disk")
	}
	to <- prometheus.MustNewConstMetric(c.misses, prometheus.CounterValue, float64(now.Misses))
}
