package bus

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Check finds what can never work, and files that cannot be used, and names their settings.
func (c Config) Check() error {
	if len(c.URLs) > 0 {
		_, _, err := external(c)
		return err
	}
	return c.Embedded.check()
}

func (e *Embedded) check() error {
	var errs []error
	if _, _, err := splitAddress(e.Listen); err != nil {
		errs = append(errs, fmt.Errorf("nats_cluster_listen: %w", err))
	}
	if e.Advertise != "" {
		if err := checkReachable(e.Advertise); err != nil {
			errs = append(errs, fmt.Errorf("nats_cluster_advertise: %w", err))
		}
	}
	for _, route := range e.Routes {
		if err := checkReachable(route); err != nil {
			errs = append(errs, fmt.Errorf("nats_cluster_routes: %w", err))
		}
	}
	return errors.Join(errs...)
}

func splitAddress(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil && strings.Count(address, ":") > 1 && !strings.Contains(address, "/") {
		return "", 0, fmt.Errorf("%q is not host:port: write an IPv6 address in brackets, as in [2001:db8::1]:8006", address)
	}
	number, numberErr := strconv.ParseUint(text, 10, 16)
	if err != nil || numberErr != nil || strings.ContainsAny(host, "/@ ") {
		return "", 0, fmt.Errorf("%q is not host:port", address)
	}
	return host, int(number), nil
}

// checkReachable says why nobody can be told to dial an address.
func checkReachable(address string) error {
	host, port, err := splitAddress(address)
	if err != nil {
		return err
	}
	if ip, err := netip.ParseAddr(host); host == "" || port == 0 || err == nil && ip.IsUnspecified() {
		return fmt.Errorf("%q is not host:port that a node can be reached at", address)
	}
	return nil
}

func routeURLs(routes []string) (urls []*url.URL, err error) {
	for _, route := range routes {
		if err := checkReachable(route); err != nil {
			return nil, fmt.Errorf("NATS route: %w", err)
		}
		urls = append(urls, &url.URL{Scheme: "nats-route", Host: route})
	}
	return urls, nil
}
