package dns

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// lookAgain is how long a file is taken for unchanged.
	lookAgain = 5 * time.Second
	// fileTTL is how long holds what stands in the hosts file.
	fileTTL = 10 * time.Second
)

// watched is a file that is read again when it has changed. A file that cannot be read is an empty one at first, and
// later what it was.
type watched[T any] struct {
	path  string
	parse func(text string) T

	mu    sync.Mutex
	value T         // guarded by mu
	read  bool      // guarded by mu
	next  time.Time // guarded by mu; when to look again
	mtime time.Time // guarded by mu
	size  int64     // guarded by mu
}

func (w *watched[T]) get() T {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.read && now.Before(w.next) {
		return w.value
	}
	w.next = now.Add(lookAgain)
	info, err := os.Stat(w.path)
	if err == nil && w.read && info.ModTime().Equal(w.mtime) && info.Size() == w.size {
		return w.value
	}
	text, readErr := os.ReadFile(w.path)
	if err == nil && readErr == nil {
		w.mtime, w.size = info.ModTime(), info.Size()
		w.value = w.parse(string(text))
	} else if !w.read {
		w.value = w.parse("")
	}
	w.read = true
	return w.value
}

// hosts are the addresses of names in a hosts file.
type hosts struct {
	file watched[map[string][]netip.Addr]
}

func (h *hosts) find(name string) []netip.Addr {
	if found := h.file.get()[name]; len(found) > 0 {
		return found
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") { // RFC 6761 §6.3
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	return nil
}

// fromFile makes the answer of a file: its IPv4 addresses, or all when there are none. With both, a network without IPv6
// would fail every second first try.
func fromFile(addrs []netip.Addr) Answer {
	answer := Answer{Kind: A, TTL: fileTTL}
	for _, addr := range addrs {
		if addr.Is4() {
			answer.Records = append(answer.Records, Record{Addr: addr})
		}
	}
	if len(answer.Records) == 0 {
		answer.Kind = AAAA
		for _, addr := range addrs {
			answer.Records = append(answer.Records, Record{Addr: addr})
		}
	}
	return answer
}

func parseHosts(text string) map[string][]netip.Addr {
	found := map[string][]netip.Addr{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		for _, name := range fields[1:] {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			found[name] = append(found[name], addr.Unmap())
		}
	}
	return found
}

// conf is what resolv.conf says (resolv.conf(5)).
type conf struct {
	servers  []netip.AddrPort
	search   []string // with a final dot
	ndots    int
	attempts int
	timeout  time.Duration // of one question to one server
	rotate   bool
}

const (
	maxServers  = 8
	maxSearch   = 16
	defaultPort = 53
)

func parseResolvConf(text string) conf {
	c := conf{ndots: 1, attempts: 2, timeout: 2 * time.Second}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") || strings.HasPrefix(fields[0], ";") {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if addr, err := netip.ParseAddr(fields[1]); err == nil && len(c.servers) < maxServers {
				c.servers = append(c.servers, netip.AddrPortFrom(addr.Unmap(), defaultPort))
			}
		case "domain":
			c.search = []string{rooted(fields[1])}
		case "search":
			c.search = nil
			for _, domain := range fields[1:min(len(fields), 1+maxSearch)] {
				c.search = append(c.search, rooted(domain))
			}
		case "options":
			c.options(fields[1:])
		}
	}
	if len(c.servers) == 0 {
		c.servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), defaultPort)}
	}
	return c
}

func (c *conf) options(list []string) {
	for _, option := range list {
		name, value, _ := strings.Cut(option, ":")
		number, err := strconv.Atoi(value)
		switch {
		case name == "rotate":
			c.rotate = true
		case err != nil:
		case name == "ndots":
			c.ndots = min(max(number, 0), 15)
		case name == "timeout":
			c.timeout = time.Duration(min(max(number, 1), 30)) * time.Second
		case name == "attempts":
			c.attempts = min(max(number, 1), 5)
		}
	}
}

func rooted(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) + "." }

// candidates are the full names that host may stand for, in the order that they are tried.
func (c *conf) candidates(host string) []string {
	if strings.HasSuffix(host, ".") {
		return []string{host}
	}
	var searched []string
	for _, domain := range c.search {
		if domain == "." {
			continue
		}
		searched = append(searched, host+"."+domain)
	}
	if strings.Count(host, ".") >= c.ndots {
		return append([]string{host + "."}, searched...)
	}
	return append(searched, host+".")
}
