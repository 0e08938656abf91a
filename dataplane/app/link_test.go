package app

import (
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

func TestTheProxySettings(t *testing.T) {
	t.Parallel()
	proxied := func(server string, trusted ...string) dpsettings.DataPlane {
		var s dpsettings.DataPlane
		s.Cluster.UseProxy, s.Cluster.ProxyServer, s.Cluster.ProxyVerify = true, secret.Take([]byte(server)), true
		s.Upstream.Trusted = trusted
		return s
	}
	off := proxied("nonsense")
	off.Cluster.UseProxy = false
	if dial, err := dialler(off); dial != nil || err != nil {
		t.Errorf("off: %v", err)
	}
	if dial, err := dialler(proxied("https://edge:canary@proxy:3128", "system")); dial == nil || err != nil {
		t.Errorf("on: %v", err)
	}
	for name, test := range map[string]struct {
		s    dpsettings.DataPlane
		want string
	}{
		"no proxy":          {proxied(""), "proxy_server"},
		"another protocol":  {proxied("socks5://edge:canary@proxy"), "http://"},
		"no such authority": {proxied("https://edge:canary@proxy", "/not/there"), "ssl_trusted_certificate"},
	} {
		if dial, err := dialler(test.s); dial != nil || err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
