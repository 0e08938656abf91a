package listener_test

import (
	"crypto/tls"
	"testing"

	"github.com/keepgate/keepgate/dataplane/listener"
	"github.com/keepgate/keepgate/shared/selfsigned"
)

func TestVersionsAndSuites(t *testing.T) {
	t.Parallel()
	cert, _, err := selfsigned.Load(t.TempDir(), "default")
	if err != nil {
		t.Fatal(err)
	}
	const cbc = tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA
	const gcm = tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
	tests := map[string]struct {
		options listener.Options
		client  *tls.Config
		served  bool
	}{
		"1.2":                    {listener.Options{}, &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		"1.2 where 1.3 is asked": {listener.Options{MinVersion: tls.VersionTLS13}, &tls.Config{MaxVersion: tls.VersionTLS12}, false},
		"1.3 where 1.3 is asked": {listener.Options{MinVersion: tls.VersionTLS13}, &tls.Config{}, true},
		"1.3 where 1.2 is asked": {listener.Options{MaxVersion: tls.VersionTLS12}, &tls.Config{MinVersion: tls.VersionTLS13}, false},
		"CBC":                    {listener.Options{}, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{cbc}}, true},
		"CBC where GCM is asked": {listener.Options{CipherSuites: []uint16{gcm}}, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{cbc}}, false},
		"GCM where GCM is asked": {listener.Options{CipherSuites: []uint16{gcm}}, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{cbc, gcm}}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.options.Certificate = always(&cert)
			f := start(t, true, "127.0.0.1:0 ssl http2", test.options)
			test.client.InsecureSkipVerify = true
			nc, err := tls.Dial("tcp", f.addrs[0], test.client)
			if err == nil {
				_ = nc.Close()
			}
			if (err == nil) != test.served {
				t.Errorf("handshake: %v, want served %v", err, test.served)
			}
		})
	}
}
