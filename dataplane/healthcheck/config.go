// Package healthcheck says whether the addresses of an upstream are alive: by counting what becomes of requests
// (passive), and by asking them (active).
//
// Fields, defaults and counting are Kong 3.8's. What counts is kept in one [State] for each address, which does not know who
// reports; [Checker] does the asking, one loop for each upstream whose intervals ask for it and none for others. Who is used when
// is dataplane/balancer's to say.
package healthcheck

import (
	"crypto/tls"
	"time"
)

// Config is an upstream's healthchecks. It does not change.
type Config struct {
	Active  Active
	Passive Passive
	// Threshold is what share of the weight, in percent, has to be exceeded by what is healthy for the upstream to be used at all.
	Threshold float64
}

// On says whether anything is checked that could make an address unhealthy or healthy.
func (c *Config) On() bool {
	u := &c.Passive.Unhealthy
	return c.Probes() || u.TCPFailures > 0 || u.Timeouts > 0 || u.HTTPFailures > 0
}

// Probes says whether addresses are asked.
func (c *Config) Probes() bool {
	return c.Active.Healthy.Interval > 0 || c.Active.Unhealthy.Interval > 0
}

// Kind is how an address is asked.
type Kind uint8

// The kinds of active checks.
const (
	HTTP Kind = iota
	HTTPS
	TCP
	GRPC
	GRPCS
)

// Active is how addresses are asked.
type Active struct {
	Kind        Kind
	Timeout     time.Duration
	Concurrency int
	Path        string
	Host        string                              // what is asked for; "": what the target is called
	SNI         string                              // for HTTPS and GRPCS: the name that the server is asked for; "": what the target is called
	TLS         func(serverName string) *tls.Config // for HTTPS and GRPCS
	Header      []Field
	Healthy     Healthy
	Unhealthy   Unhealthy
}

// Field is a header field of a probe.
type Field struct{ Name, Value string }

// Passive is how requests count.
type Passive struct {
	Healthy   Healthy
	Unhealthy Unhealthy
}

// Healthy is what an unhealthy address recovers by. 0 successes: by nothing.
type Healthy struct {
	Interval  time.Duration // between probes of a healthy address; 0: none
	Statuses  Statuses
	Successes int
}

// Unhealthy is what a healthy address falls by; 0 of a kind: not by that.
type Unhealthy struct {
	Interval                            time.Duration // between probes of an unhealthy address; 0: none
	Statuses                            Statuses
	TCPFailures, Timeouts, HTTPFailures int
}

// Statuses is a set of statuses below 1024.
type Statuses [16]uint64

// StatusesOf makes a set.
func StatusesOf(list ...int) (s Statuses) {
	for _, status := range list {
		if status >= 0 && status < 64*len(s) {
			s[status/64] |= 1 << (status % 64)
		}
	}
	return s
}

// Has says whether status is in the set.
func (s *Statuses) Has(status int) bool {
	return status >= 0 && status < 64*len(s) && s[status/64]&(1<<(status%64)) != 0
}
