package health

import (
	"github.com/prometheus/client_golang/prometheus"
)

// fleetDescs are the metrics of the fleet by environment: as many series as there are environments, however many data
// planes there are.
type fleetDescs struct{ count, versions, seconds, expiry, quarantined, refusals *prometheus.Desc }

func newFleetDescs() fleetDescs {
	one := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"environment"}, labels...), nil)
	}
	return fleetDescs{
		count:       one("keepgate_data_planes", "Data planes that were seen within the purge delay.", "status", "link"),
		versions:    one("keepgate_data_planes_lag_versions", "How many versions the linked data plane that is furthest behind lacks."),
		seconds:     one("keepgate_data_planes_lag_seconds", "For how long a linked data plane has lacked a version, at most."),
		expiry:      one("keepgate_data_planes_certificate_expiry_seconds", "When the first certificate of a linked data plane ends, in Unix seconds."),
		refusals:    one("keepgate_data_plane_refusals_total", "How often a data plane refused what this node sent it."),
		quarantined: one("keepgate_data_planes_quarantined", "Data planes that hold an entity which they cannot use."),
	}
}

func (d fleetDescs) describe(to chan<- *prometheus.Desc) {
	for _, one := range []*prometheus.Desc{d.count, d.versions, d.seconds, d.expiry, d.quarantined, d.refusals} {
		to <- one
	}
}

// standing is where data planes of an environment are counted.
type standing struct{ environment, status, link string }

// group is what is shown of an environment.
type group struct {
	versions            uint64
	seconds, expires    int64
	linked, quarantined int
}

func (d fleetDescs) collect(list []DataPlane, refusals map[string]uint64, to chan<- prometheus.Metric) {
	counts, groups := map[standing]int{}, map[string]*group{}
	for _, one := range list {
		environment := clean(one.Environment)
		counts[standing{environment, one.Status, one.Link}]++
		g := groups[environment]
		if g == nil {
			g = &group{}
			groups[environment] = g
		}
		if one.Quarantined > 0 {
			g.quarantined++
		}
		if one.Link != "linked" { // what is away is behind for a reason of its own
			continue
		}
		g.versions, g.seconds = max(g.versions, one.LagVersions), max(g.seconds, one.LagSeconds)
		if g.linked++; g.linked == 1 || one.CertificateExpires < g.expires {
			g.expires = one.CertificateExpires
		}
	}
	show := func(of *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(of, prometheus.GaugeValue, value, labels...)
	}
	for environment, n := range refusals {
		to <- prometheus.MustNewConstMetric(d.refusals, prometheus.CounterValue, float64(n), clean(environment))
	}
	for at, n := range counts {
		show(d.count, float64(n), at.environment, at.status, at.link)
	}
	for environment, g := range groups {
		show(d.quarantined, float64(g.quarantined), environment)
		if g.linked == 0 {
			continue
		}
		show(d.versions, float64(g.versions), environment)
		show(d.seconds, float64(g.seconds), environment)
		show(d.expiry, float64(g.expires), environment)
	}
}

// couldJoin says what came of the last attempt to join. Before the first one it says nothing.
type couldJoin struct{ joiner Joiner }

func couldJoinDesc() *prometheus.Desc {
	return prometheus.NewDesc("keepgate_fresh_data_plane_could_join", "1 when a data plane that is new could have joined this node when that was tried last.", nil, nil)
}

// Describe implements prometheus.Collector.
func (couldJoin) Describe(to chan<- *prometheus.Desc) { to <- couldJoinDesc() }

// Collect implements prometheus.Collector.
func (c couldJoin) Collect(to chan<- prometheus.Metric) {
	if at, err := c.joiner.Joined(); !at.IsZero() {
		to <- prometheus.MustNewConstMetric(couldJoinDesc(), prometheus.GaugeValue, truth(err == nil))
	}
}
