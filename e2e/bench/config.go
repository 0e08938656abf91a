package main

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

const (
	hotPath = "/service-4711/things" // of the route that the load goes through
	hotKey  = "bench-key-4711-abcdef"
	body    = 1024
)

// routesFile is a declarative file with one service behind key-auth, many routes and a thousand consumers.
func routesFile(upstream string, routes int) string {
	var f strings.Builder
	fmt.Fprintf(&f, "_format_version: '3.0'\nservices:\n- name: bench\n  url: http://%s\n  plugins:\n  - name: key-auth\n    config: {key_names: [apikey]}\n  routes:\n", upstream)
	for i := range routes {
		fmt.Fprintf(&f, "  - {name: route-%d, paths: [/service-%d/things], strip_path: false}\n", i, i)
	}
	f.WriteString("consumers:\n")
	fmt.Fprintf(&f, "- {username: hot, keyauth_credentials: [{key: %s}]}\n", hotKey)
	for i := range 1000 {
		fmt.Fprintf(&f, "- {username: user-%d, keyauth_credentials: [{key: bench-key-of-user-%d}]}\n", i, i)
	}
	return f.String()
}

// entitiesFile is a declarative file with about n entities: a fifth routes and services, the rest consumers with keys.
// Its last entity is a plugin that answers /probe with a status of its own, so that one can see it change.
func entitiesFile(n int) string {
	var f strings.Builder
	f.WriteString("_format_version: '3.0'\nservices:\n")
	for i := range n / 100 {
		fmt.Fprintf(&f, "- name: service-%d\n  url: http://127.0.0.1:9\n  routes:\n", i)
		for j := range 19 {
			fmt.Fprintf(&f, "  - {name: route-%d-%d, paths: [/service-%d/%d]}\n", i, j, i, j)
		}
	}
	f.WriteString("routes:\n- name: probe\n  paths: [/probe]\n  plugins:\n  - {name: request-termination, instance_name: probe, config: {status_code: 200, message: '0'}}\n")
	f.WriteString("plugins:\n- {name: key-auth, instance_name: checks, service: service-0}\nconsumers:\n")
	for i := range n * 2 / 5 {
		fmt.Fprintf(&f, "- {username: user-%d, keyauth_credentials: [{key: bench-key-of-user-%d}]}\n", i, i)
	}
	return f.String()
}

// The nginx that answers, and the two that are compared: plain proxying, and the same job as ours.
const (
	nginxFrame = `daemon off;
worker_processes 1;
%s
pid nginx.pid;
error_log error.log warn;
events { worker_connections 16384; }
http {
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  map_hash_max_size 65536;
  %s
}
`
	nginxUpstream = `access_log off;
  server { listen %s backlog=4096; location / { default_type text/plain; return 200 "%s"; } }`
	nginxProxy = `access_log access.log combined buffer=64k flush=1s;
  upstream service { server %s; keepalive 256; keepalive_requests 1000000000; }
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
  %s`
	nginxPlain = `server { listen %s backlog=4096; location / { proxy_pass http://service; } }`
)

// nginxHeaders are what our gate tells the upstream of the request and its way, and the client of the answer, but for what is left of the
// rate limit, which nginx cannot tell.
const nginxHeaders = `
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Forwarded-Path $uri;
  proxy_set_header X-Real-IP $remote_addr; proxy_set_header Via "1.1 nginx"; proxy_set_header X-Request-Id $request_id;
  proxy_set_header X-Consumer-ID $consumer_id; proxy_set_header X-Credential-Identifier $consumer_id;
  add_header Via "1.1 nginx"; add_header X-Request-Id $request_id;
  add_header X-Upstream-Latency $upstream_header_time; add_header X-Proxy-Latency $request_time;
`

// nginxGateway does with nginx what our route does: finds one of many locations, asks for a key, names the consumer. headers are added to
// those that every proxy sets.
func nginxGateway(listen string, routes int, headers string) string {
	var f strings.Builder
	for name, value := range map[string]func(user string) string{
		"consumer": func(user string) string { return user }, "consumer_id": func(user string) string { return uuid.NewSHA1(uuid.NameSpaceOID, []byte(user)).String() },
	} {
		fmt.Fprintf(&f, "map $http_apikey $%s { default \"\"; %s %s; ", name, hotKey, value("hot"))
		for i := range 1000 {
			user := fmt.Sprintf("user-%d", i)
			fmt.Fprintf(&f, "bench-key-of-%s %s; ", user, value(user))
		}
		f.WriteString("}\n  ")
	}
	fmt.Fprintf(&f, "proxy_set_header X-Consumer-Username $consumer; %s\n  server { listen %s backlog=4096;\n", headers, listen)
	for i := range routes {
		fmt.Fprintf(&f, "    location /service-%d/things { if ($consumer = \"\") { return 401; } proxy_pass http://service; }\n", i)
	}
	f.WriteString("  }")
	return f.String()
}
