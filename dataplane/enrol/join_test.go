package enrol

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/enrol/enroltest"
	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
)

func TestJoin(t *testing.T) {
	t.Parallel()
	c := enroltest.New(t)
	address := c.Listen(t)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, gone.Close())
	f := At(filepath.Join(t.TempDir(), "a", "cluster"))
	wish := Wish{Token: c.Token(t), Nodes: []string{gone.Addr().String(), address}, Dial: enroltest.Straight, Hostname: "h"}
	result, err := f.Join(t.Context(), wish)
	if err != nil {
		t.Fatal(err)
	}
	if result.Identity.String() != c.Who.String() || result.Node != address || result.Replaced || len(result.TLS.PeerCertificates) == 0 {
		t.Errorf("Join = %+v", result)
	}
	source, err := f.Open(nil)
	if err != nil || source.Identity().Serial != result.Identity.Serial || !f.Joined() {
		t.Fatalf("what was kept: %v, %v", source, err)
	}
	info, err := os.Stat(filepath.Join(f.dir, currentName, keyName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info, err)
	}
	folder, err := os.Stat(f.dir)
	if err != nil || folder.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", folder, err)
	}

	if _, err := f.Join(t.Context(), wish); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "--again") {
		t.Errorf("joining over a living enrolment = %v", err)
	}
	wish.Again = true
	again, err := f.Join(t.Context(), wish)
	if err != nil || !again.Replaced || again.Identity.Serial == result.Identity.Serial {
		t.Fatalf("joining again = %+v, %v", again, err)
	}
	if keys, err := f.OtherKeys(); err != nil || len(keys) != 1 {
		t.Errorf("the key before has to stay until the store needs it no longer: %v, %v", keys, err)
	}
	must(t, f.Prune())
	if keys, err := f.OtherKeys(); err != nil || len(keys) != 0 {
		t.Errorf("after pruning: %v, %v", keys, err)
	}
}

// noFolders is a disk on which no folder can be made.
type noFolders struct{ Disk }

func (noFolders) Mkdir(path string, _ fs.FileMode) error {
	return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.EACCES}
}

// A token works once: it is not said by a node that could not keep what it gets for it.
func TestNoRoomUsesUpNoToken(t *testing.T) {
	t.Parallel()
	c := enroltest.New(t)
	dir := filepath.Join(t.TempDir(), "cluster")
	must(t, os.Mkdir(dir, 0o700))
	_, err := AtOn(noFolders{}, dir).Join(t.Context(), Wish{Token: c.Token(t), Nodes: []string{c.Listen(t)}, Dial: enroltest.Straight})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Join = %v", err)
	}
	c.Mu.Lock()
	defer c.Mu.Unlock()
	if c.Issued != 0 {
		t.Error("the token was used up")
	}
}

func TestAnExpiredEnrolmentIsReplacedWithoutAWord(t *testing.T) {
	t.Parallel()
	c := enroltest.New(t)
	f, _ := joined(t, c, &kept{}, Options{})
	number, held, err := f.held()
	must(t, err)
	key, err := privatekey.Read(f.path(number, keyName))
	must(t, err)
	held.cert = encode("CERTIFICATE", [][]byte{c.Root.Issue(t, key.Public(), c.Who, -time.Millisecond).Raw})
	next, err := f.add(held, func(*mtls.Source) error { return nil })
	must(t, err)
	must(t, f.use(next, number))
	if err := f.mayJoin(false); err != nil {
		t.Errorf("mayJoin = %v", err)
	}
}

// What is issued has to be what this node can link with; else nothing has changed.
func TestJoinRefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	other := enroltest.NewAuthority(t, "other")
	tests := map[string]struct {
		bend func(c *enroltest.Cluster)
		want string
	}{
		"for another key": {func(c *enroltest.Cluster) {
			key, _, err := privatekey.New()
			must(t, err)
			c.Sign = func(crypto.PublicKey, identity.Identity) *x509.Certificate {
				return c.Root.Issue(t, key.Public(), c.Who, time.Hour)
			}
		}, "another key"},
		"of another role": {func(c *enroltest.Cluster) {
			c.Who = identity.Identity{Role: identity.Admin, Organisation: "acme", Name: "edge-1"}
		}, "role admin"},
		"of another organisation": {func(c *enroltest.Cluster) { c.Who.Organisation = "other" }, "organisation"},
		"for another name":        {func(c *enroltest.Cluster) { c.Who.Name = "edge-2" }, `for "edge-2"`},
		"ended":                   {func(c *enroltest.Cluster) { c.Life = -time.Millisecond }, "compare the clocks"},
		"of a foreign authority": {func(c *enroltest.Cluster) {
			c.Sign = func(public crypto.PublicKey, id identity.Identity) *x509.Certificate {
				return other.Issue(t, public, id, time.Hour)
			}
		}, "wrong CA"},
		"nobody to believe":        {func(c *enroltest.Cluster) { c.Trust = nil }, "whom to believe"},
		"somebody else to believe": {func(c *enroltest.Cluster) { c.Trust = enroltest.Bundle(5, other) }, "wrong CA"},
		"a broken authority":       {func(c *enroltest.Cluster) { c.Trust.Authorities[0] = []byte{1} }, "CA"},
		"lists of half": {func(c *enroltest.Cluster) {
			c.Trust = enroltest.Bundle(5, c.Root, other)
			c.Trust.RevocationLists = [][]byte{c.Root.List(t, 1)}
		}, "CRL"},
		"the control plane is revoked": {func(c *enroltest.Cluster) { c.Trust.RevocationLists = [][]byte{c.Root.List(t, 1, c.Chain[0])} }, "revoked"},
		"no certificate":               {func(c *enroltest.Cluster) { c.Bend = func(_ *enrolv1.JoinRequest, i *enrolv1.Issued) { i.Chain = nil } }, "no certificate"},
		"a broken certificate": {func(c *enroltest.Cluster) {
			c.Bend = func(_ *enrolv1.JoinRequest, i *enrolv1.Issued) { i.Chain[0] = i.Chain[0][:20] }
		}, "reading the certificate"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := enroltest.New(t)
			test.bend(c)
			f := At(filepath.Join(t.TempDir(), "cluster"))
			_, err := f.Join(t.Context(), Wish{Token: c.Token(t), Nodes: []string{c.Listen(t)}, Dial: enroltest.Straight, Name: "edge-1"})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Join = %v, want %q", err, test.want)
			}
			if f.Joined() {
				t.Error("it is in use")
			}
			if left, err := os.ReadDir(f.dir); err != nil || len(left) != 1 || left[0].Name() != lockName {
				t.Errorf("the folder holds %v, %v", left, err)
			}
		})
	}
}

// A node that asks for patience is asked again, and the same key is certified; one that has refused is believed.
func TestJoinHasPatience(t *testing.T) {
	t.Parallel()
	c := enroltest.New(t)
	address := c.Listen(t)
	tries := 0
	flaky := func(ctx context.Context, to string) (net.Conn, error) {
		if tries++; tries == 1 {
			mine, theirs := net.Pipe()
			go func() { defer theirs.Close(); enroltest.Busy(c, theirs) }()
			return mine, nil
		}
		return enroltest.Straight(ctx, to)
	}
	f := At(filepath.Join(t.TempDir(), "cluster"))
	if _, err := f.Join(t.Context(), Wish{Token: c.Token(t), Nodes: []string{address}, Dial: flaky, Pause: time.Millisecond}); err != nil || tries != 2 {
		t.Errorf("Join after %d tries = %v", tries, err)
	}
	refusing := func(context.Context, string) (net.Conn, error) { tries++; return nil, errors.New("unreachable") }
	tries = 0
	_, err := At(filepath.Join(t.TempDir(), "cluster")).Join(t.Context(), Wish{Token: c.Token(t), Nodes: []string{"a:1", "b:1"}, Dial: refusing, Pause: time.Millisecond})
	if err == nil || tries != 2 || !strings.Contains(err.Error(), "a:1: unreachable") || !strings.Contains(err.Error(), "b:1: unreachable") {
		t.Errorf("Join after %d tries = %v", tries, err)
	}
}

func TestRemedies(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		enrolment.ErrOtherRoot: "somebody is in between", enrolment.ErrClock: "clocks", enrolment.ErrNoJoin: "8005",
		enrolment.ErrNotControlPlane: "not sent", enrolment.ErrUnanswered: "",
	} {
		if got := Remedy(err); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%v: %q", err, got)
		}
	}
}

// A folder that cannot be made is one mistake, told in one line.
func TestAFolderThatCannotBeMade(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if err := At(filepath.Join(file, "a", "cluster")).MakeRoom(); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}
