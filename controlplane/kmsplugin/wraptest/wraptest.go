// Package wraptest gives tests a control plane that wraps: real mutual TLS, real sealing, and failures on demand. Several
// nodes can serve one KEK, as those of one database do.
package wraptest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/secret"
)

// Key is one generation.
type Key struct {
	ID         string
	Generation uint64
	CreatedAt  time.Time
	seal       *aead.Key
}

// KEK is what all nodes serve.
type KEK struct {
	Name string

	mu   sync.Mutex
	keys []Key // guarded by mu; the last one is current

	// Guarded by mu: what was asked so far.
	wraps, unwraps int
	canaries       map[string][]time.Time // by key, of wraps
	uids           []string
}

// NewKEK makes a KEK with a first key.
func NewKEK(t testing.TB, name string) *KEK {
	t.Helper()
	k := &KEK{Name: name, canaries: map[string][]time.Time{}}
	k.Rotate(t)
	return k
}

// Rotate makes a key and makes it current, and returns its id.
func (k *KEK) Rotate(t testing.TB) string {
	t.Helper()
	material, mark := make([]byte, aead.KeySize), make([]byte, 8)
	rand.Read(material)
	rand.Read(mark)
	seal, err := aead.NewKey(aead.AES256GCM, secret.Take(material))
	if err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	generation := uint64(1)
	if len(k.keys) > 0 {
		generation = k.keys[len(k.keys)-1].Generation + 1
	}
	key := Key{fmt.Sprintf("%s.%d.%s", k.Name, generation, hex.EncodeToString(mark)), generation, time.Now(), seal}
	k.keys = append(slices.Clone(k.keys), key)
	return key.ID
}

// Retire takes a key away.
func (k *KEK) Retire(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = slices.DeleteFunc(slices.Clone(k.keys), func(key Key) bool { return key.ID == id })
}

// Keys are the keys now; Restore puts such a list back, as restoring a database does.
func (k *KEK) Keys() []Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys
}

// Restore puts older keys back.
func (k *KEK) Restore(keys []Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = keys
}

// Current is the id of the current key.
func (k *KEK) Current() string {
	keys := k.Keys()
	return keys[len(keys)-1].ID
}

// Counts are the wraps and unwraps that were no canaries.
func (k *KEK) Counts() (wraps, unwraps int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.wraps, k.unwraps
}

// Canaries are the moments at which a key was tried.
func (k *KEK) Canaries(id string) []time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.canaries[id])
}

// UIDs are those of all calls that were no canaries.
func (k *KEK) UIDs() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.uids)
}

func (k *KEK) find(id string) (Key, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if id == "" {
		return k.keys[len(k.keys)-1], true
	}
	i := slices.IndexFunc(k.keys, func(key Key) bool { return key.ID == id })
	if i < 0 {
		return Key{}, false
	}
	return k.keys[i], true
}

// Describe answers as the control plane does.
func (k *KEK) Describe() *wrapv1.DescribeResponse {
	answer := &wrapv1.DescribeResponse{Name: k.Name}
	for _, key := range k.Keys() {
		answer.Keys = append(answer.Keys, &wrapv1.Key{KeyId: key.ID, Generation: key.Generation, CreatedAt: key.CreatedAt.Unix()})
	}
	return answer
}

// Wrap seals for this KEK and key.
func (k *KEK) Wrap(request *wrapv1.WrapRequest) (*wrapv1.WrapResponse, error) {
	key, ok := k.find(request.KeyId)
	if !ok {
		return nil, status.Errorf(codes.NotFound, "there is no key %q", request.KeyId)
	}
	k.mu.Lock()
	if request.Canary {
		k.canaries[key.ID] = append(k.canaries[key.ID], time.Now())
	} else {
		k.wraps++
		k.uids = append(k.uids, request.Uid)
	}
	k.mu.Unlock()
	return &wrapv1.WrapResponse{KeyId: key.ID, Ciphertext: key.seal.Seal([]byte{1}, request.Plaintext, k.place(key.ID, request.Canary))}, nil
}

// Unwrap opens what Wrap sealed.
func (k *KEK) Unwrap(request *wrapv1.UnwrapRequest) (*wrapv1.UnwrapResponse, error) {
	key, ok := k.find(request.KeyId)
	if !ok {
		return nil, status.Errorf(codes.NotFound, "there is no key %q", request.KeyId)
	}
	if !request.Canary {
		k.mu.Lock()
		k.unwraps++
		k.uids = append(append(k.uids, request.Uid), request.Also...)
		k.mu.Unlock()
	}
	if len(request.Ciphertext) < 1 || request.Ciphertext[0] != 1 {
		return nil, status.Error(codes.InvalidArgument, "not wrapped here")
	}
	plaintext, err := key.seal.Open(nil, request.Ciphertext[1:], k.place(key.ID, request.Canary))
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "not wrapped here")
	}
	return &wrapv1.UnwrapResponse{Plaintext: plaintext}, nil
}

func (k *KEK) place(id string, canary bool) []byte {
	return binary.BigEndian.AppendUint16(aead.Associated("wraptest", k.Name, id), map[bool]uint16{true: 1}[canary])
}

// PKI is the authority of a cluster, and the plugin's files.
type PKI struct {
	CA     *mtlstest.CA
	Folder string
}

// NewPKI makes an authority.
func NewPKI(t testing.TB) *PKI {
	t.Helper()
	p := &PKI{CA: mtlstest.NewCA(t, "cluster"), Folder: t.TempDir()}
	mtlstest.Write(t, filepath.Join(p.Folder, "ca.crt"), p.CA.PEM)
	return p
}

// Issue writes a certificate for an identity and returns its files.
func (p *PKI) Issue(t testing.TB, id identity.Identity) mtls.Files {
	t.Helper()
	pair := p.CA.Issue(t, mtlstest.Leaf{Identity: id, DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	files := mtls.Files{
		Cert: filepath.Join(p.Folder, id.Name+".crt"), Key: filepath.Join(p.Folder, id.Name+".key"), CA: filepath.Join(p.Folder, "ca.crt"),
	}
	mtlstest.Write(t, files.Cert, pair.CertPEM)
	mtlstest.Write(t, files.Key, pair.KeyPEM)
	return files
}

// Open reads the files of an identity that is issued now.
func (p *PKI) Open(t testing.TB, id identity.Identity) *mtls.Source {
	t.Helper()
	source, err := mtls.Open(p.Issue(t, id))
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// Node is one control plane node, at Address.
type Node struct {
	wrapv1.UnimplementedWrapServiceServer
	Address string
	kek     *KEK
	pki     *PKI
	name    string
	server  *grpc.Server

	mu     sync.Mutex
	code   codes.Code    // guarded by mu; every call ends so; OK: none does
	hang   chan struct{} // guarded by mu; calls wait for it; nil: they do not
	delay  time.Duration // guarded by mu
	behind []Key         // guarded by mu; what it tells of instead; nil: all
	calls  int           // guarded by mu
	waits  int           // guarded by mu; calls that hang now
	shown  []string      // guarded by mu; serials of the certificates of calls
}

// Start runs a node on a free port until the test ends.
func Start(t testing.TB, pki *PKI, kek *KEK, name string) *Node {
	t.Helper()
	n := &Node{kek: kek, pki: pki, name: name, Address: "127.0.0.1:0"}
	n.Begin(t)
	t.Cleanup(n.End)
	return n
}

// Begin listens again where it did.
func (n *Node) Begin(t testing.TB) {
	t.Helper()
	source := n.pki.Open(t, identity.Identity{Role: identity.ControlPlane, Name: n.name})
	listener, err := net.Listen("tcp", n.Address)
	if err != nil {
		t.Fatal(err)
	}
	n.Address = listener.Addr().String()
	n.server = grpc.NewServer(grpc.Creds(grpccreds.Server(source, nil, identity.DataPlane, identity.KMS)))
	wrapv1.RegisterWrapServiceServer(n.server, n)
	server := n.server
	go server.Serve(listener) // ends with End
}

// End stops it at once.
func (n *Node) End() { n.server.Stop() }

// Fail lets every call end with a code; OK mends it.
func (n *Node) Fail(code codes.Code) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.code = code
}

// Hang lets calls wait until Release.
func (n *Node) Hang() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hang = make(chan struct{})
}

// Release ends Hang.
func (n *Node) Release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.hang)
	n.hang = nil
}

// Delay lets every call take so long.
func (n *Node) Delay(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = d
}

// Behind lets it tell of older keys than there are; nil ends that.
func (n *Node) Behind(keys []Key) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.behind = keys
}

// Calls counts all calls that it took.
func (n *Node) Calls() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls
}

// Serials are those of the certificates that calls came with.
func (n *Node) Serials() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.shown)
}

// Waiting counts the calls that hang.
func (n *Node) Waiting() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.waits
}

func (n *Node) wait(more int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waits += more
}

func (n *Node) enter(ctx context.Context) error {
	n.mu.Lock()
	n.calls++
	code, hang, delay := n.code, n.hang, n.delay
	n.mu.Unlock()
	who, _, err := grpccreds.PeerOf(ctx)
	if err != nil || who.Role != identity.KMS {
		return status.Errorf(codes.PermissionDenied, "role %s", who.Role)
	}
	n.mu.Lock()
	n.shown = append(n.shown, who.Serial)
	n.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
	}
	if hang != nil {
		n.wait(1)
		defer n.wait(-1)
		select {
		case <-hang:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
	if code != codes.OK {
		return status.Error(code, "as the test wants")
	}
	return nil
}

// Describe serves.
func (n *Node) Describe(ctx context.Context, _ *wrapv1.DescribeRequest) (*wrapv1.DescribeResponse, error) {
	if err := n.enter(ctx); err != nil {
		return nil, err
	}
	n.mu.Lock()
	behind := n.behind
	n.mu.Unlock()
	if behind != nil {
		older := &KEK{Name: n.kek.Name, keys: behind}
		return older.Describe(), nil
	}
	return n.kek.Describe(), nil
}

// Wrap serves.
func (n *Node) Wrap(ctx context.Context, request *wrapv1.WrapRequest) (*wrapv1.WrapResponse, error) {
	if err := n.enter(ctx); err != nil {
		return nil, err
	}
	return n.kek.Wrap(request)
}

// Unwrap serves.
func (n *Node) Unwrap(ctx context.Context, request *wrapv1.UnwrapRequest) (*wrapv1.UnwrapResponse, error) {
	if err := n.enter(ctx); err != nil {
		return nil, err
	}
	return n.kek.Unwrap(request)
}
