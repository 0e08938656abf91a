#!/usr/bin/env bash
# Installs what tests and benchmarks need beside Go, where it is missing: for `test` gcc (the race detector
# is cgo), PostgreSQL's server binaries, and curl and openssl as second opinions, for `bench` nginx, HAProxy and h2load, for `kubernetes` etcd. It asks
# for Debian's packages, only as root, and neither starts a service, now or when the machine starts, nor makes a database cluster.
set -euo pipefail

has() { command -v "$1" >/dev/null 2>&1; }
has_postgres() { has initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }
has_headers() { echo '#include <stdlib.h>' | gcc -E - >/dev/null 2>&1; }

packages=()
for purpose in "${@:-test}"; do
  case "$purpose" in
    test)
      has gcc && has_headers || packages+=(gcc libc6-dev)
      has_postgres || packages+=(postgresql)
      has curl || packages+=(curl)
      has openssl || packages+=(openssl)
      ;;
    bench)
      has nginx || packages+=(nginx-light)
      has haproxy || packages+=(haproxy)
      has h2load || packages+=(nghttp2-client)
      ;;
    kubernetes)
      has etcd || packages+=(etcd-server)
      ;;
    *)
      echo "usage: deploy/deps.sh [test] [bench] [kubernetes]" >&2
      exit 2
      ;;
  esac
done
[[ ${#packages[@]} -gt 0 ]] || exit 0

if [[ $(id -u) -ne 0 ]] || ! has apt-get; then
  echo "missing here: ${packages[*]}" >&2
  echo "on Debian or Ubuntu install them with: sudo apt-get install ${packages[*]}" >&2
  echo "elsewhere install gcc with the C headers, PostgreSQL 13 or newer (initdb and postgres), curl, openssl, for bench nginx, HAProxy and h2load, and for kubernetes etcd" >&2
  exit 1
fi

echo "deps   installing ${packages[*]}"
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then # no package may start a service of its own while this runs
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod 755 $policy
  trap 'rm -f $policy' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
if [[ " ${packages[*]} " == *" postgresql "* ]]; then
  apt-get install -y -qq --no-install-recommends postgresql-common >/dev/null
  sed -ri 's/^#?(create_main_cluster) .*$/\1 = false/' /etc/postgresql-common/createcluster.conf
fi
apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
if [[ " ${packages[*]} " == *" etcd-server "* ]] && has systemctl; then
  systemctl disable --quiet etcd.service 2>/dev/null || true # its package has it start with the machine
fi
echo "deps   done"
