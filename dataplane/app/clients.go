package app

import (
	"crypto/tls"
	"fmt"
	"slices"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/http1/std"
	"github.com/keepgate/keepgate/dataplane/http2server"
	"github.com/keepgate/keepgate/dataplane/listener"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
	"github.com/keepgate/keepgate/shared/settings/values"
)

// proxyProtocol, as real_ip_header, lets nothing but that protocol say who a client is.
const proxyProtocol = "proxy_protocol"

// listening is how sockets treat clients before their first request.
func (f *front) listening() listener.Options {
	p, s := f.plane, &f.plane.settings.Proxy
	options := listener.Options{
		Certificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if chosen := p.tables.Current().Certificates.Certificate(hello); chosen != nil {
				return chosen, nil
			}
			return f.fallback.choose(hello), nil
		},
		Handshake:      func(serverName string) *table.Handshake { return p.tables.Current().Handshakes.For(serverName) },
		TrustedProxies: s.TrustedIPs.Ranges,
		MinVersion:     s.SSLProtocols.Least,
		MaxVersion:     s.SSLProtocols.Most,
		SessionTimeout: s.SSLSessionTimeout,
		DrainTimeout:   s.DrainTimeout,
		Log:            p.log,
	}
	switch s.SSLCipherSuite {
	case "modern":
		options.MinVersion, options.MaxVersion = tls.VersionTLS13, tls.VersionTLS13
	case "intermediate":
		options.CipherSuites = intermediate()
	}
	return options
}

// intermediate are the TLS 1.2 suites of Mozilla's recommendation of that name, version 5.7, less those with finite-field
// Diffie-Hellman, which crypto/tls does not have. Those of TLS 1.3 are not up for choice.
func intermediate() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// engines makes what serves requests, and attaches it to the sockets.
func (f *front) engines(handler exchange.Handler) {
	p, s := f.plane, &f.plane.settings.Proxy
	line, asKong := int(s.HeaderBuffers.Size), s.HeaderNames != "keepgate"
	panicked := func(value any, stack []byte) {
		p.log.Error("a request was dropped by a bug; please report it", "panic", fmt.Sprint(value), "stack", string(stack))
	}
	f.engine = http1.New(handler, http1.Options{
		MaxLineBytes: line, MaxHeadBytes: s.HeaderBuffers.Number * line, HeadTimeout: s.HeaderTimeout, BodyTimeout: s.BodyTimeout,
		MinBodyRate: bodyRate(s), WriteTimeout: s.SendTimeout, IdleTimeout: s.KeepaliveTimeout, SayKeepAlive: asKong,
		Preface:  f.sockets.HandOver,
		Panicked: panicked,
	})
	if s.HTTP1Engine == "native" && s.HTTP2Engine == "native" {
		f.sockets.Attach(f.engine, http2server.New(handler, http2server.Options{
			MaxLineBytes: line, MaxHeadBytes: s.HeaderBuffers.Number * line, HeadTimeout: s.HeaderTimeout, BodyTimeout: s.BodyTimeout,
			MinBodyRate: bodyRate(s), WriteTimeout: s.SendTimeout, IdleTimeout: s.KeepaliveTimeout, Panicked: panicked,
		}))
		return
	}
	standard := std.New(handler, std.Options{
		MaxHeadBytes: s.HeaderBuffers.Number * line, HeadTimeout: s.HeaderTimeout, BodyTimeout: s.BodyTimeout, MinBodyRate: bodyRate(s),
		WriteTimeout: s.SendTimeout, IdleTimeout: s.KeepaliveTimeout, SayKeepAlive: asKong, Log: p.log,
	})
	if s.HTTP1Engine == "std" {
		p.log.Warn("proxy_http1_engine is std: requests cost about two and a half times the CPU")
		f.sockets.Attach(nil, standard)
		return
	}
	f.sockets.Attach(f.engine, standard)
}

// bodyRate is what engines take: below 0 for no limit.
func bodyRate(s *dpsettings.Proxy) int {
	if s.MinBodyRate == 0 {
		return -1
	}
	return int(min(s.MinBodyRate, 1<<30))
}

// checkProxyProtocol refuses what could only be a mistake, and warns of what probably is one.
func (p *plane) checkProxyProtocol() error {
	s := &p.settings.Proxy
	spoken := slices.ContainsFunc(s.Listen, func(l values.Listener) bool { return l.ProxyProtocol })
	switch {
	case s.RealIPHeader == proxyProtocol && !spoken:
		return fault.Newf(fault.Invalid, "app.Run", "real_ip_header", "%s: no socket of proxy_listen has the flag proxy_protocol", proxyProtocol)
	case spoken && len(s.TrustedIPs.Ranges) == 0:
		p.log.Warn("proxy_listen has the flag proxy_protocol and trusted_ips is empty: nobody is believed what they say by it")
	}
	return nil
}
