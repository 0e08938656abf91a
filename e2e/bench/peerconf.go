package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/keepgate/keepgate/e2e/harness"
)

// config writes a peer's file.
func (b *bench) config(f *peersFixture, name, text string) (file string) {
	file = filepath.Join(f.c.Folder, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatalf("%v", err)
	}
	return file
}

// installed finds a peer that Debian has.
func (b *bench) installed(program string) string {
	path, err := exec.LookPath(program)
	if err != nil {
		b.Fatalf("%s is missing; install it with: make deps", program)
	}
	return path
}

// built finds a peer that is built from its Go module.
func (b *bench) built(program string) string {
	root, err := harness.Root()
	if err != nil {
		b.Fatalf("%v", err)
	}
	path := filepath.Join(root, "bin", "peers", program)
	if _, err := os.Stat(path); err != nil {
		b.Fatalf("%s is missing; build it with: make peers", path)
	}
	return path
}

func (b *bench) freePorts(kinds ...wireKind) map[wireKind]string {
	ports := map[wireKind]string{}
	for _, kind := range kinds {
		ports[kind] = harness.FreeAddress(b)
	}
	return ports
}

func (b *bench) nginxPeer(f *peersFixture) peer {
	ports := b.freePorts(clear1, tls1, clear2)
	p := b.nginx(f.c, "nginx", proxyCore, func(string) string {
		return fmt.Sprintf(nginxProxy, f.service, fmt.Sprintf(`
  upstream calls { server %s; keepalive 256; keepalive_requests 1000000000; }
  ssl_certificate %s; ssl_certificate_key %s; ssl_protocols TLSv1.3; ssl_session_cache shared:s:1m;
  server { listen %s backlog=4096; location / { proxy_pass http://service; } }
  server { listen %s ssl http2 backlog=4096; location / { proxy_pass http://service; } }
  server { listen %s http2 backlog=4096; location / { grpc_pass grpc://calls; } }`, f.grpc, f.cert, f.key, ports[clear1], ports[tls1], ports[clear2]))
	}, ports[clear1])
	return p.with(ports)
}

// with makes a peer of a proxy that has more than one port.
func (p proxied) with(ports map[wireKind]string) peer {
	whole := peer{name: p.name, pid: p.pid, ports: parsed(ports)}
	whole.ports[tls2] = whole.ports[tls1]
	return whole
}

func (b *bench) keepgatePeer(f *peersFixture) peer {
	return b.keepgate(f, "plain", fmt.Sprintf(`_format_version: '3.0'
services:
- {name: things, url: "http://%s", routes: [{name: things, paths: [/things], strip_path: false}]}
- {name: calls, url: "grpc://%s", routes: [{name: calls, protocols: [grpc, grpcs], paths: [/grpc.testing.BenchmarkService/]}]}
`, f.service, f.grpc), "/things")
}

func (b *bench) keepgate(f *peersFixture, name, file, path string, headers ...string) peer {
	cp := f.c.ControlPlane(name+"-cp", "--db-update-frequency", "5s") // idle, it leaves the load's core alone
	cp.Core = restCore
	cp.Start()
	dp := f.c.DataPlane(name+"-edge", cp, "--ssl-cert", f.cert, "--ssl-cert-key", f.key)
	ports := map[wireKind]string{clear1: dp.Proxy, tls1: dp.TLS, clear2: harness.FreeAddress(b)}
	dp.SetFlag("--proxy-listen", dp.Proxy+" backlog=4096, "+dp.TLS+" http2 ssl backlog=4096, "+ports[clear2]+" http2 backlog=4096")
	dp.Core = proxyCore
	dp.Launch()
	cp.Admin().Push(file)
	dp.Await(200, path, headers...)
	cp.Stop() // a data plane serves without it, and what it does is not to be measured
	return proxied{name: "keepgate", pid: dp.Pid()}.with(ports)
}

func (b *bench) haproxyPeer(f *peersFixture) peer {
	ports := b.freePorts(clear1, tls1, clear2)
	file := b.config(f, "haproxy.cfg", fmt.Sprintf(haproxyFrame+`
frontend clear
  bind %s
  default_backend service
frontend tls
  bind %s ssl crt %s alpn h2,http/1.1 ssl-min-ver TLSv1.3
  default_backend service
frontend calls
  bind %s proto h2
  default_backend calls
backend service
  http-reuse always
  server s %s
backend calls
  http-reuse always
  server s %s proto h2
`, ports[clear1], ports[tls1], f.both, ports[clear2], f.service, f.grpc))
	p := b.start(f, "haproxy", b.installed("haproxy"), ports, nil, "-db", "-f", file)
	p.ports[tls2] = p.ports[tls1]
	return p
}

const haproxyFrame = `global
  nbthread 1
  no strict-limits
  maxconn 16384
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
`

func (b *bench) caddyPeer(f *peersFixture) peer {
	ports := b.freePorts(clear1, tls1, clear2)
	file := b.config(f, "Caddyfile", fmt.Sprintf(`{
  admin off
  auto_https off
  servers {
    protocols h1 h2 h2c
  }
}
(service) {
  reverse_proxy %s {
    transport http {
      keepalive_idle_conns_per_host 256
    }
  }
}
http://%s {
  import service
}
https://%s {
  tls %s %s
  import service
}
http://%s {
  reverse_proxy h2c://%s
}
`, f.service, ports[clear1], ports[tls1], f.cert, f.key, ports[clear2], f.grpc))
	p := b.start(f, "caddy", b.built("caddy"), ports, []string{"HOME=" + f.c.Folder, "GOMAXPROCS=1"}, "run", "--adapter", "caddyfile", "--config", file)
	p.ports[tls2] = p.ports[tls1]
	return p
}

func (b *bench) traefikPeer(f *peersFixture) peer {
	ports := b.freePorts(clear1, tls1, clear2)
	dynamic := b.config(f, "traefik-dynamic.yml", fmt.Sprintf(`
http:
  serversTransports: {pool: {maxIdleConnsPerHost: 256}}
  routers:
    clear: {rule: "PathPrefix(`+"`/`"+`)", entryPoints: [clear], service: service}
    tls: {rule: "PathPrefix(`+"`/`"+`)", entryPoints: [tls], service: service, tls: {}}
    calls: {rule: "PathPrefix(`+"`/`"+`)", entryPoints: [calls], service: calls}
  services:
    service: {loadBalancer: {serversTransport: pool, servers: [{url: "http://%s"}]}}
    calls: {loadBalancer: {servers: [{url: "h2c://%s"}]}}
tls:
  stores: {default: {defaultCertificate: {certFile: %s, keyFile: %s}}}
`, f.service, f.grpc, f.cert, f.key))
	file := b.config(f, "traefik.yml", fmt.Sprintf(`
global: {checkNewVersion: false, sendAnonymousUsage: false}
log: {level: ERROR}
entryPoints: {clear: {address: %q}, tls: {address: %q}, calls: {address: %q}}
providers: {file: {filename: %s, watch: false}}
`, ports[clear1], ports[tls1], ports[clear2], dynamic))
	p := b.start(f, "traefik", b.built("traefik"), ports, []string{"GOMAXPROCS=1"}, "--configfile="+file)
	p.ports[tls2] = p.ports[tls1]
	return p
}
