package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/keepgate/keepgate/e2e/harness"
)

// proxied is one proxy under the load.
type proxied struct {
	name    string
	address netip.AddrPort
	pid     int
}

// nginx starts an nginx on one core, in a folder of its own, and returns its address: the one given, or a free one.
func (b *bench) nginx(c *harness.Cluster, name string, core int, conf func(listen string) string, at ...string) proxied {
	b.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		b.Fatalf("nginx is missing; install it with: make deps")
	}
	folder := filepath.Join(c.Folder, name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		b.Fatalf("%v", err)
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // the folder is ours alone
	}
	listen := append(at, harness.FreeAddress(b))[0]
	file := filepath.Join(folder, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxFrame, user, conf(listen)), 0o644); err != nil {
		b.Fatalf("%v", err)
	}
	process := c.Program(name, program, "-p", folder, "-c", file, "-e", filepath.Join(folder, "error.log"))
	process.Core, process.Group = core, true
	process.Launch()
	b.awaitPort(name, process, listen)
	return proxied{name, netip.MustParseAddrPort(listen), process.Pid()}
}

// upstream is the service behind every proxy: nginx, which answers a KiB.
func (b *bench) upstream(c *harness.Cluster, core int) proxied {
	return b.nginx(c, "upstream", core, func(listen string) string {
		return fmt.Sprintf(nginxUpstream, listen, strings.Repeat("x", body))
	})
}
