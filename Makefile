# Every target below with a double-hash comment is shown by `make help`, which is the default.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS  += --no-print-directory

GO          ?= go
BUF         := $(GO) tool -modfile=.tools/buf.mod buf
GOFUMPT     := $(GO) tool -modfile=.tools/lint.mod gofumpt
STATICCHECK := $(GO) tool -modfile=.tools/lint.mod staticcheck

FUZZTIME    ?= 20s#            how long `make fuzz` spends on each target
JOBS        ?= 2#              how many packages `make test` runs at once
BREAKING_AGAINST ?=#           a commit, or "none"; default: the last tag, else the merge base

# The race detector watches all Go code but SQLite's and its C library's: C that was translated by a machine, whose every memory access it would
# slow down five times. The driver around it and whoever calls that stay watched.
RACE        := -race -gcflags=modernc.org/sqlite/lib=-race=false -gcflags=modernc.org/libc/...=-race=false

# What is shipped is static and small: grpcnotrace drops x/net/trace and with it html/template.
BUILD_FLAGS := -trimpath -buildvcs=false -tags grpcnotrace -ldflags "-s -w"

.PHONY: help build demo test check generate peers bench e2e e2e-http2 e2e-kubernetes fuzz deps clean
.PHONY: check-format check-vet check-static check-proto check-generate check-modules

help: ## show this list
	@echo "Keepgate. Common first steps: make demo, then make test. Targets:"
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Variables: FUZZTIME=$(FUZZTIME) JOBS=$(JOBS) BREAKING_AGAINST=<commit|none> GO=$(GO)"

build: ## build the binaries into bin/ (static, needs only Go)
	@mkdir -p bin
	for binary in controlplane/cmd/keepgate-cp controlplane/cmd/keepgate-kms dataplane/cmd/keepgate-dp; do
	  echo "build  bin/$${binary##*/}"
	  CGO_ENABLED=0 $(GO) build $(BUILD_FLAGS) -o "bin/$${binary##*/}" "./$$binary"
	done

demo: build ## the whole story on this machine, step by step (DEMO_EXIT=1 ends after the last step)
	@exec deploy/demo/run

test: ## run every test with the race detector (brings gcc and PostgreSQL where missing)
	@deploy/deps.sh test
	echo "test   all packages, race detector on, $(JOBS) at a time"
	CGO_ENABLED=1 $(GO) test $(RACE) -shuffle=on -p $(JOBS) -timeout 25m ./... | { grep --line-buffered -v -e '\[no test files\]' || true; }
	echo "test   what allocates nothing, without the race detector, which allocates itself"
	$(GO) test -run 'AllocatesNothing|NoAllocations' ./shared/nowait ./dataplane/exchange ./dataplane/http1 ./dataplane/proxy

check: check-format check-vet check-static check-proto check-generate check-modules ## static checks only, nothing runs
	@echo "check  all good"

check-format:
	@echo "check  format (gofumpt)"
	unformatted=$$($(GOFUMPT) -l .)
	if [[ -n "$$unformatted" ]]; then
	  echo "not gofumpt-formatted; repair with: $(GOFUMPT) -w <file>"; echo "$$unformatted"; exit 1
	fi

check-vet:
	@echo "check  go vet"
	$(GO) vet ./...

check-static:
	@echo "check  staticcheck"
	$(STATICCHECK) ./...

check-proto:
	@echo "check  buf lint"
	$(BUF) lint
	echo "check  buf breaking"
	BUF="$(BUF)" BREAKING_AGAINST="$(strip $(BREAKING_AGAINST))" .ci/breaking

check-generate:
	@echo "check  generated files are what make generate makes"
	.ci/generated

check-modules:
	@echo "check  go.mod, go.sum and the downloaded modules"
	$(GO) mod verify
	$(GO) mod tidy -diff

generate: ## write again all that derives from the protos and the settings
	@echo "generate  proto"
	$(BUF) generate
	find proto -name '*.pb.go' | while read -r made; do
	  origin="$${made%.pb.go}"; origin="$${origin%_grpc}.proto"
	  if [[ ! -e "$$origin" ]]; then echo "remove    $$made: $$origin is gone"; rm "$$made"; fi
	done
	echo "generate  go generate"
	$(GO) generate ./...

peers: ## build Caddy, Traefik and k8s.io/apiserver's KMS transformer, which the benchmark compares with (once; minutes, and some GB of modules)
	@mkdir -p bin/peers
	for peer in caddy:github.com/caddyserver/caddy/v2/cmd/caddy traefik:github.com/traefik/traefik/v3/cmd/traefik kmspeer:e2e/bench/kmspeer/main.go; do
	  name="$${peer%%:*}"
	  if [[ bin/peers/$$name -nt .tools/$$name.sum && ! "$${peer#*:}" -nt bin/peers/$$name ]]; then continue; fi
	  echo "build  $$name"
	  CGO_ENABLED=0 $(GO) build -modfile=.tools/$$name.mod -trimpath -o bin/peers/$$name "$${peer#*:}"
	done

bench: build peers ## throughput and CPU beside nginx, HAProxy, Caddy and Traefik, sealing, applying, latency (some minutes)
	@deploy/deps.sh bench
	exec $(GO) run ./e2e/bench

e2e: build ## only the scenarios with real processes (make test runs them too)
	@deploy/deps.sh test
	$(GO) test -timeout 25m ./e2e/...

e2e-http2: build ## hold the gate's HTTP/2 server to h2spec, the public conformance suite (builds that once: seconds)
	@if [[ ! bin/h2spec -nt .tools/h2spec.sum ]]; then
	  echo "build  h2spec"
	  CGO_ENABLED=0 $(GO) build -modfile=.tools/h2spec.mod -trimpath -o bin/h2spec github.com/summerwind/h2spec/cmd/h2spec
	fi
	$(GO) vet -tags h2spec ./e2e/http2spec
	KEEPGATE_BIN=$(CURDIR)/bin $(GO) test -tags h2spec -timeout 10m -count=1 ./e2e/http2spec

e2e-kubernetes: build ## keepgate-kms with a real Kubernetes API server, etcd and kubectl (builds those once: minutes, and some GB of modules)
	@deploy/deps.sh kubernetes
	mkdir -p bin/kubernetes
	for tool in sample-apiserver:k8s.io/sample-apiserver kubectl:e2e/kubernetes/kubectl/main.go envelope:e2e/kubernetes/envelope/main.go; do
	  name="$${tool%%:*}"
	  if [[ bin/kubernetes/$$name -nt .tools/kubernetes.sum && ! "$${tool#*:}" -nt bin/kubernetes/$$name ]]; then continue; fi
	  echo "build  $$name"
	  CGO_ENABLED=0 $(GO) build -modfile=.tools/kubernetes.mod -trimpath -o bin/kubernetes/$$name "$${tool#*:}"
	done
	$(GO) vet -tags kubernetes ./e2e/kubernetes
	KEEPGATE_BIN=$(CURDIR)/bin $(GO) test -tags kubernetes -timeout 20m -count=1 ./e2e/kubernetes

fuzz: ## every fuzz target for FUZZTIME each
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort | while IFS=: read -r file name; do
	  name="$${name#func }"; folder="$${file%/*}"
	  echo "fuzz   $$folder $$name ($(strip $(FUZZTIME)))"
	  $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(strip $(FUZZTIME)) "$$folder" < /dev/null
	done

deps: ## install what tests and benchmarks need beside Go: gcc, PostgreSQL, nginx, etcd (Debian, as root)
	@deploy/deps.sh test bench kubernetes

clean: ## remove what build and tests leave
	@rm -rf bin
	find . -name '*.test' -type f -not -path './.git/*' -delete
	find . -name '*.prof' -type f -not -path './.git/*' -delete
