package main

import (
	"fmt"
	"strings"

	"github.com/keepgate/keepgate/e2e/harness"
)

// gatewayFigures compares what a gateway's job costs.
func gatewayFigures(b *bench) {
	f := b.peersFixture()
	b.comparePeers(loadCase{
		name: "key-auth, rate limit, 10,000 routes", over: clear1, path: hotPath, connections: 64, headers: []string{"apikey: " + hotKey},
	}, b.gatewayPeers(f))
}

// gatewayPeers are the proxies that do a gateway's job, each as far as what it is shipped with goes: one of 10,000 routes by its path, one
// of 1,001 keys that names the consumer, a rate limit for each consumer.
func (b *bench) gatewayPeers(f *peersFixture) []peer {
	return []peer{b.nginxGatewayPeer(f, "nginx", nginxHeaders), b.keepgateGatewayPeer(f), b.nginxGatewayPeer(f, "nginx-silent", ""), b.haproxyGatewayPeer(f), b.caddyGatewayPeer(f), b.traefikGatewayPeer(f)}
}

// nginxGatewayPeer is nginx with the headers of a gateway, or silent but for the consumer's name.
func (b *bench) nginxGatewayPeer(f *peersFixture, name, headers string) peer {
	ports := b.freePorts(clear1)
	p := b.nginx(f.c, name, proxyCore, func(string) string {
		limit := "limit_req_zone $consumer zone=by_consumer:10m rate=1000000r/s; limit_req zone=by_consumer burst=1000000 nodelay;\n  "
		return fmt.Sprintf(nginxProxy, f.service, limit+nginxGateway(ports[clear1], routes, headers))
	}, ports[clear1])
	return p.with(ports)
}

func (b *bench) keepgateGatewayPeer(f *peersFixture) peer {
	file := strings.Replace(routesFile(f.service.String(), routes), "  plugins:\n",
		"  plugins:\n  - name: rate-limiting\n    config: {second: 10000000, policy: local, limit_by: consumer}\n", 1)
	return b.keepgate(f, "gateway", file, hotPath, "apikey", hotKey)
}

func (b *bench) haproxyGatewayPeer(f *peersFixture) peer {
	var users, paths strings.Builder
	fmt.Fprintf(&users, "%s hot\n", hotKey)
	for i := range 1000 {
		fmt.Fprintf(&users, "bench-key-of-user-%d user-%d\n", i, i)
	}
	for i := range routes {
		fmt.Fprintf(&paths, "/service-%d/things service\n", i)
	}
	ports := b.freePorts(clear1)
	file := b.config(f, "haproxy-gateway.cfg", fmt.Sprintf(haproxyFrame+`
frontend clear
  bind %s
  http-request set-var(txn.user) req.hdr(apikey),map_str(%s)
  http-request deny deny_status 401 unless { var(txn.user) -m found }
  stick-table type string len 64 size 100k expire 60s store http_req_rate(1s)
  http-request track-sc0 var(txn.user)
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 10000000 }
  http-request set-header X-Consumer-Username %%[var(txn.user)]
  http-request set-header X-Consumer-ID %%[var(txn.user)]
  http-request set-header X-Credential-Identifier %%[var(txn.user)]
  option forwardfor
  unique-id-format %%{+X}o\ %%ci:%%cp_%%fi:%%fp_%%Ts_%%rt:%%pid
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %%[req.hdr(host)]
  http-request set-header X-Forwarded-Port %%[dst_port]
  http-request set-header X-Forwarded-Path %%[path]
  http-request set-header X-Real-IP %%[src]
  http-request set-header Via "1.1 haproxy"
  http-response set-header X-Request-Id %%[unique-id]
  http-response set-header Via "1.1 haproxy"
  http-response set-header X-Upstream-Latency %%Tr
  http-response set-header X-Proxy-Latency %%Ta
  use_backend %%[path,map_beg(%s)]
backend service
  http-reuse always
  server s %s
`, ports[clear1], b.config(f, "users.map", users.String()), b.config(f, "paths.map", paths.String()), f.service))
	return b.start(f, "haproxy", b.installed("haproxy"), ports, nil, "-db", "-f", file)
}

// caddyGatewayPeer limits no rate, which Caddy does not come with.
func (b *bench) caddyGatewayPeer(f *peersFixture) peer {
	var file strings.Builder
	ports := b.freePorts(clear1)
	fmt.Fprintf(&file, "{\n  admin off\n  auto_https off\n}\n(service) {\n  reverse_proxy %s {\n    header_up X-Consumer-Username {consumer}\n", f.service)
	fmt.Fprintf(&file, "    transport http {\n      keepalive_idle_conns_per_host 256\n    }\n  }\n}\nhttp://%s {\n", ports[clear1])
	fmt.Fprintf(&file, "  map {header.apikey} {consumer} {\n    %s hot\n", hotKey)
	for i := range 1000 {
		fmt.Fprintf(&file, "    bench-key-of-user-%d user-%d\n", i, i)
	}
	file.WriteString("    default \"\"\n  }\n  @unknown vars {consumer} \"\"\n  error @unknown 401\n")
	for i := range routes {
		fmt.Fprintf(&file, "  handle /service-%d/things* {\n    import service\n  }\n", i)
	}
	file.WriteString("}\n")
	return b.start(f, "caddy", b.built("caddy"), ports, []string{"HOME=" + f.c.Folder, "GOMAXPROCS=1"},
		"run", "--adapter", "caddyfile", "--config", b.config(f, "Caddyfile-gateway", file.String()))
}

// traefikGatewayPeer asks for no key, for which Traefik has nothing but an index in a file of hashes that cost milliseconds each.
func (b *bench) traefikGatewayPeer(f *peersFixture) peer {
	var dynamic strings.Builder
	fmt.Fprintf(&dynamic, `
http:
  serversTransports: {pool: {maxIdleConnsPerHost: 256}}
  services:
    service: {loadBalancer: {serversTransport: pool, servers: [{url: "http://%s"}]}}
  middlewares:
    limit: {rateLimit: {average: 1000000, burst: 1000000, sourceCriterion: {requestHeaderName: apikey}}}
  routers:
`, f.service)
	for i := range routes {
		fmt.Fprintf(&dynamic, "    route-%d: {rule: \"PathPrefix(`/service-%d/things`)\", middlewares: [limit], service: service}\n", i, i)
	}
	ports := b.freePorts(clear1)
	file := b.config(f, "traefik-gateway.yml", fmt.Sprintf(`
global: {checkNewVersion: false, sendAnonymousUsage: false}
log: {level: ERROR}
entryPoints: {clear: {address: %q}}
providers: {file: {filename: %s, watch: false}}
`, ports[clear1], b.config(f, "traefik-gateway-dynamic.yml", dynamic.String())))
	p := b.start(f, "traefik", b.built("traefik"), ports, []string{"GOMAXPROCS=1"}, "--configfile="+file)
	harness.Eventually(b, "Traefik's routes", func() string { // it listens before it has read them
		switch answer, err := harness.Get("http://" + ports[clear1] + hotPath); {
		case err != nil:
			return err.Error()
		case answer.Status != 200:
			return fmt.Sprint("status ", answer.Status)
		}
		return ""
	})
	return p
}
