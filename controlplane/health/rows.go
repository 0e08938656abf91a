package health

import "github.com/prometheus/client_golang/prometheus"

// Rows says how many rows of a table rest under one key.
type Rows struct {
	Table, Provider, Key string // provider "identity": in clear
	Count                int
}

// mostRows bounds the series: names of keys are the word of whoever wrote the rows.
const mostRows = 1000

// rows shows what was counted last.
type rows struct {
	count func() []Rows
	desc  *prometheus.Desc
}

// NewRows makes the metric of rows by key. count answers at once with what was counted last.
func NewRows(count func() []Rows) prometheus.Collector {
	return &rows{count, prometheus.NewDesc("keepgate_encryption_rows", "Rows with secrets by who sealed them under which key; provider identity is in clear. "+
		"Counted by the database, which reads whole tables for it: when somebody asks, at most every 10 minutes, and after a re-encryption.",
		[]string{"table", "provider", "key"}, nil)}
}

// Describe implements prometheus.Collector.
func (r *rows) Describe(to chan<- *prometheus.Desc) { to <- r.desc }

// Collect implements prometheus.Collector.
func (r *rows) Collect(to chan<- prometheus.Metric) {
	shown := map[Rows]int{} // a series twice would spoil the whole answer
	for _, one := range r.count() {
		key := Rows{Table: clean(one.Table), Provider: clean(one.Provider), Key: clean(one.Key)}
		if _, known := shown[key]; !known && len(shown) >= mostRows {
			key = Rows{Table: "others", Provider: "others", Key: "others"}
		}
		shown[key] += one.Count
	}
	for one, count := range shown {
		to <- prometheus.MustNewConstMetric(r.desc, prometheus.GaugeValue, float64(count), one.Table, one.Provider, one.Key)
	}
}
