package revocation

import (
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/shared/pkitest"
)

func TestSerialNumbersAreFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Custom(func(t *rapid.T) *big.Int {
			n := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 24).Draw(t, "bytes"))
			if rapid.IntRange(0, 9).Draw(t, "sign") == 0 {
				n.Neg(n)
			}
			return n
		})
		list := rapid.SliceOfN(number, 0, 40).Draw(t, "list")
		var entries []x509.RevocationListEntry
		for _, n := range list {
			entries = append(entries, x509.RevocationListEntry{SerialNumber: n})
		}
		s := newSerials(entries)
		asked := append([]*big.Int{number.Draw(t, "other")}, list...)
		for _, n := range asked {
			want := false
			for _, one := range list {
				want = want || one.Cmp(n) == 0
			}
			of := serialOf(n)
			if got := s.has(&of); got != want {
				t.Fatalf("has(%v) = %v in %v", n, got, list)
			}
		}
	})
}

func TestTheRoomIsBounded(t *testing.T) {
	t.Parallel()
	room := New(Options{})
	root := pkitest.Root(t, "root")
	cert := *root.Issue("client").Cert
	first := time.Now()
	for i := range maxSources + 500 {
		raw := big.NewInt(int64(i)).Bytes()
		cert.Raw, cert.OCSPServer = raw, []string{"http://pki.test/"}
		s := room.source(Settings{}, ofOCSP, &cert, root.Cert)
		s.used.Store(first.Add(time.Duration(i)).UnixNano())
	}
	if got := len(room.sources); got != maxSources {
		t.Errorf("%d sources, want %d", got, maxSources)
	}
	room.sweep(first.Add(25 * time.Hour))
	if got := len(room.sources); got != 0 {
		t.Errorf("%d sources after a day without a question", got)
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	t.Parallel()
	room := New(Options{}) // nobody runs it
	root := pkitest.Root(t, "root")
	cert := *root.Issue("client", pkitest.At("", "http://pki.test/")).Cert
	for i := range queueLength + 10 {
		cert.Raw = big.NewInt(int64(i)).Bytes()
		s := room.source(Settings{Refresh: time.Minute}, ofOCSP, &cert, root.Cert)
		if pending := s.touch(time.Now()); (pending != nil) != (i < queueLength) {
			t.Fatalf("source %d: waiting is %v", i, pending != nil)
		}
	}
}

func TestListsHeldAreBounded(t *testing.T) {
	t.Parallel()
	room := New(Options{})
	root := pkitest.Root(t, "root")
	take := func(n, size int64) (*source, error) {
		cert := *root.Issue("client", pkitest.At("http://pki.test/", "")).Cert
		cert.CRLDistributionPoints = []string{"http://pki.test/" + big.NewInt(n).String()}
		s := room.source(Settings{}, ofCRL, &cert, root.Cert)
		return s, s.take(s.answer.Load(), &answer{size: size, list: &serials{}}, time.Now())
	}
	large, err := take(1, maxHeld-10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := take(2, 11); err != errFull { //nolint:errorlint // the very one
		t.Errorf("take = %v, want %v", err, errFull)
	}
	if _, err := take(1, 5); err != nil {
		t.Errorf("a smaller list instead: %v", err)
	}
	if _, err := take(2, maxHeld-5); err != nil {
		t.Errorf("now there is room: %v", err)
	}
	large.drop()
	large.drop()
	if got := room.held.Load(); got != maxHeld-5 {
		t.Errorf("%d bytes are counted, want %d", got, maxHeld-5)
	}
}

func FuzzList(f *testing.F) {
	root := pkitest.Root(f, "root")
	client := root.Issue("client", pkitest.At("http://pki.test/crl", ""))
	responder := pkitest.NewResponder(root)
	responder.Revoke(client.Cert)
	f.Add(responder.List())
	f.Add([]byte("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := readList(data, client.Cert, root.Cert, time.Minute, time.Now())
		if err == nil && !found.list.has(new(serialOf(client.Cert.SerialNumber))) {
			t.Errorf("a list that the authority never signed is believed")
		}
	})
}

func FuzzResponse(f *testing.F) {
	root := pkitest.Root(f, "root")
	client := root.Issue("client")
	responder := pkitest.NewResponder(root)
	responder.Revoke(client.Cert)
	request, err := ocsp.CreateRequest(client.Cert, root.Cert, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(request)
	f.Add(responder.Response(request))
	f.Fuzz(func(t *testing.T, data []byte) {
		if found, err := readResponse(data, client.Cert, root.Cert, time.Minute, time.Now()); err == nil && found.good {
			t.Error("a response that the authority never signed is believed")
		}
	})
}

func FuzzParts(f *testing.F) {
	f.Add([]byte{0x30, 0x00})
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parts(data)
		if err != nil && list != nil {
			t.Error("parts of what cannot be read")
		}
		_, _ = parsePoint(data)
	})
}
