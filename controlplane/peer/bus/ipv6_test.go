package bus_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/peer/bus"
	"github.com/keepgate/keepgate/e2e/ports"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

// overIPv6 is a node whose server awaits others at an IPv6 address of this machine.
func overIPv6(t *testing.T, ca *mtlstest.CA, name, listen, advertise string, routes ...string) *node {
	t.Helper()
	probe, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatalf("this machine has no IPv6 loopback address, which this test is about (sysctl net.ipv6.conf.lo.disable_ipv6=0): %v", err)
	}
	_ = probe.Close() // opened for nothing but this
	source, files, pair := ca.Source(t, leaf(name))
	n := &node{source: source, files: files, pair: pair, log: &journal{}}
	b, err := bus.Open(t.Context(), bus.Config{
		Cluster: cluster, Node: name, Log: n.log.logger(),
		Embedded: &bus.Embedded{Listen: listen, Advertise: advertise, Routes: routes, Source: source},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.run(t, b)
	return n
}

// Routes over IPv6: one that is set, one that is set at run time, and one that the servers tell each other of.
func TestRoutesOverIPv6(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	one := overIPv6(t, ca, "cp-1", "[::1]:0", "")
	if address := one.RouteAddress(); !strings.HasPrefix(address, "[::1]:") {
		t.Fatalf("the server awaits others at %s", address)
	}
	two := overIPv6(t, ca, "cp-2", "[::1]:0", "", one.RouteAddress())
	hears(t, one, two)
	hears(t, two, one)
	three := overIPv6(t, ca, "cp-3", "[::1]:0", "")
	three.SetRoutes([]string{two.RouteAddress()})
	hears(t, three, one)
	hears(t, one, three)
	await(t, "every node has two links", func() bool {
		return one.Status().Routes == 2 && two.Status().Routes == 2 && three.Status().Routes == 2
	})
	for _, n := range []*node{one, two, three} {
		if text := n.log.String(); strings.Contains(text, "level=WARN") || strings.Contains(text, "level=ERROR") {
			t.Errorf("noise in the log of %s: %s", n.source.Identity().Name, text)
		}
	}
	source, _, _ := ca.Source(t, leaf("doctor"))
	oneWrong(t, bus.Examine(t.Context(), bus.Config{Embedded: &bus.Embedded{Routes: []string{one.RouteAddress()}, Source: source}}), "", "")
}

// A node that listens everywhere is found by the others at the IPv6 address that it advertises, and by no other.
func TestAdvertisedOverIPv6(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	port, err := ports.Claim()
	if err != nil {
		t.Fatal(err)
	}
	one := overIPv6(t, ca, "cp-1", net.JoinHostPort("::", strconv.Itoa(port)), net.JoinHostPort("::1", strconv.Itoa(port)))
	hub := overIPv6(t, ca, "hub", "[::1]:0", "", net.JoinHostPort("::1", strconv.Itoa(port)))
	hears(t, one, hub)
	last := overIPv6(t, ca, "cp-2", "[::1]:0", "", hub.RouteAddress())
	await(t, "the last node is linked with both", func() bool { return last.Status().Routes == 2 && one.Status().Routes == 2 })
	hub.stop()
	hears(t, last, one)
	hears(t, one, last)
}

// An external server at an IPv6 address, with a certificate for that address.
func TestExternalOverIPv6(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	path, user := seed(t)
	options := natsOptions(t, ca, user)
	options.Host = "::1"
	options.TLSConfig.Certificates = serving(t, ca, net.IPv6loopback)
	theirs := startNATS(t, options)
	at := fmt.Sprintf("tls://[::1]:%d", theirs.options.Port)
	one, two := client(t, ca, "cp-1", path, at), client(t, ca, "cp-2", path, at)
	hears(t, one, two)
	config := bus.Config{URLs: []string{at}, CACert: one.files.CA, Cert: one.files.Cert, Key: one.files.Key, NKeyFile: path}
	oneWrong(t, bus.Examine(t.Context(), config), "", "")

	other := natsOptions(t, ca, user) // whose certificate is for 127.0.0.1
	other.Host = "::1"
	config.URLs = []string{fmt.Sprintf("tls://[::1]:%d", startNATS(t, other).options.Port)}
	oneWrong(t, bus.Examine(t.Context(), config), "TLS", "issue the server one for ::1")
}
