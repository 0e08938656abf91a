package kubeapi_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v2 "k8s.io/kms/apis/v2"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/kek"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/kubeapi"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/wraptest"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/secret"
)

// API servers ask for the status and encrypt while the KEK is rotated as fast as it goes. None ever gets another key than
// it was told of, and none is told of an older one than before.
func TestStatusAndEncryptAgreeAtEveryInstant(t *testing.T) {
	t.Parallel()
	p := start(t, kubeapi.Options{}, kek.Options{Poll: time.Millisecond, Hasten: time.Millisecond})
	const servers, rotations = 4, 60
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var group sync.WaitGroup
	told := make([]map[string]bool, servers)
	for i := range servers {
		told[i] = map[string]bool{}
		api := p.two(t)
		group.Go(func() {
			last := ""
			for ctx.Err() == nil {
				said, err := api.Status(t.Context(), &v2.StatusRequest{})
				if err != nil || said.Version != "v2" || said.Healthz != "ok" {
					t.Errorf("Status = %v, %v", said, err)
					return
				}
				if said.KeyId != last && told[i][said.KeyId] {
					t.Errorf("key %s came back after %s", said.KeyId, last)
				}
				last, told[i][said.KeyId] = said.KeyId, true
				seed := make([]byte, 32)
				rand.Read(seed)
				sealed, err := api.Encrypt(t.Context(), &v2.EncryptRequest{Plaintext: seed, Uid: "u"})
				if err != nil || sealed.KeyId != said.KeyId {
					t.Errorf("Encrypt = %v, %v after a status of %s", sealed.GetKeyId(), err, said.KeyId)
					return
				}
				opened, err := api.Decrypt(t.Context(), &v2.DecryptRequest{Ciphertext: sealed.Ciphertext, KeyId: sealed.KeyId, Uid: "u"})
				if err != nil || !bytes.Equal(opened.Plaintext, seed) {
					t.Errorf("Decrypt = %v", err)
				}
			}
		})
	}
	for range rotations {
		next := p.kek.Rotate(t)
		for end := time.Now().Add(patience); p.follower.Verdict().Current.ID != next; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("a rotation was not noticed")
			}
		}
	}
	stop()
	group.Wait()
	for i, keys := range told {
		if len(keys) < 3 {
			t.Errorf("server %d saw %d keys: nothing was tried", i, len(keys))
		}
	}
}

// A status of another server, or a rotation, between the status and the encryption of one changes nothing for it; a new
// connection goes on where the broken one was.
func TestTheKeyIsAMatterOfTheConnection(t *testing.T) {
	t.Parallel()
	p := start(t, kubeapi.Options{}, kek.Options{Poll: time.Hour})
	early, late := p.two(t), p.two(t)
	first := p.kek.Current()
	if _, err := early.Status(t.Context(), &v2.StatusRequest{}); err != nil {
		t.Fatal(err)
	}
	second := p.kek.Rotate(t)
	if err := p.follower.Ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, err := p.two(t).Encrypt(t.Context(), &v2.EncryptRequest{Plaintext: []byte("x"), Uid: "u"}); err != nil || again.KeyId != first {
		t.Errorf("a connection that takes over: key %s, %v, want %s", again.GetKeyId(), err, first)
	}
	if said, err := late.Status(t.Context(), &v2.StatusRequest{}); err != nil || said.KeyId != second {
		t.Errorf("Status = %v, %v", said, err)
	}
	for _, test := range []struct {
		api  v2.KeyManagementServiceClient
		want string
	}{{early, first}, {late, second}, {early, first}, {p.two(t), second}} {
		sealed, err := test.api.Encrypt(t.Context(), &v2.EncryptRequest{Plaintext: []byte("x"), Uid: "u"})
		if err != nil || sealed.KeyId != test.want {
			t.Errorf("Encrypt = %v, %v, want key %s", sealed.GetKeyId(), err, test.want)
		}
	}
}

func TestNoTwoAnswersAreEqual(t *testing.T) {
	t.Parallel()
	p := start(t, kubeapi.Options{}, kek.Options{})
	api, seen := p.two(t), map[string]bool{}
	for i := range 600 {
		sealed, err := api.Encrypt(t.Context(), &v2.EncryptRequest{Plaintext: fmt.Append(nil, "seed ", i/2), Uid: "u"})
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed.Annotations) != 0 || len(sealed.Ciphertext) > 1024 {
			t.Fatalf("%d annotations, %d bytes", len(sealed.Annotations), len(sealed.Ciphertext))
		}
		seen[sealed.KeyId+"\x00"+string(sealed.Ciphertext)] = true
	}
	if len(seen) != 600 {
		t.Errorf("600 encryptions gave %d answers", len(seen))
	}
}

func TestDecryptRefuses(t *testing.T) {
	t.Parallel()
	p, other := start(t, kubeapi.Options{}, kek.Options{}), wraptest.NewKEK(t, "other")
	api := p.two(t)
	encrypt := func() *v2.EncryptResponse {
		t.Helper()
		if _, err := api.Status(t.Context(), &v2.StatusRequest{}); err != nil {
			t.Fatal(err)
		}
		sealed, err := api.Encrypt(t.Context(), &v2.EncryptRequest{Plaintext: []byte("canary-seed"), Uid: "u"})
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	former := encrypt()
	p.kek.Rotate(t)
	if err := p.follower.Ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	current := encrypt()
	if former.KeyId == current.KeyId {
		t.Fatal("no rotation")
	}
	foreign := other.Rotate(t)
	for name, test := range map[string]struct {
		change func(*v2.DecryptRequest)
		code   codes.Code
	}{
		"nothing changed":            {func(*v2.DecryptRequest) {}, codes.OK},
		"an annotation":              {func(r *v2.DecryptRequest) { r.Annotations = map[string][]byte{"a.b": nil} }, codes.InvalidArgument},
		"no key_id":                  {func(r *v2.DecryptRequest) { r.KeyId = "" }, codes.InvalidArgument},
		"a key_id too long":          {func(r *v2.DecryptRequest) { r.KeyId = string(make([]byte, 1025)) }, codes.InvalidArgument},
		"a key_id of nobody":         {func(r *v2.DecryptRequest) { r.KeyId = "key-1" }, codes.NotFound},
		"a key_id of another KEK":    {func(r *v2.DecryptRequest) { r.KeyId = foreign }, codes.NotFound},
		"the key_id of another key":  {func(r *v2.DecryptRequest) { r.KeyId = former.KeyId }, codes.InvalidArgument},
		"no ciphertext":              {func(r *v2.DecryptRequest) { r.Ciphertext = nil }, codes.InvalidArgument},
		"a ciphertext too long":      {func(r *v2.DecryptRequest) { r.Ciphertext = make([]byte, 1025) }, codes.InvalidArgument},
		"a flipped bit":              {func(r *v2.DecryptRequest) { r.Ciphertext[len(r.Ciphertext)-1] ^= 1 }, codes.InvalidArgument},
		"a ciphertext of a stranger": {func(r *v2.DecryptRequest) { r.Ciphertext = bytes.Repeat([]byte{1}, 61) }, codes.InvalidArgument},
		"a byte more":                {func(r *v2.DecryptRequest) { r.Ciphertext = append(r.Ciphertext, 0) }, codes.InvalidArgument},
	} {
		request := &v2.DecryptRequest{KeyId: current.KeyId, Ciphertext: slices.Clone(current.Ciphertext), Uid: "u"}
		test.change(request)
		opened, err := api.Decrypt(t.Context(), request)
		if status.Code(err) != test.code || err == nil && string(opened.Plaintext) != "canary-seed" || err != nil && bytes.Contains([]byte(err.Error()), []byte("canary-seed")) {
			t.Errorf("%s: Decrypt = %v, want %v", name, err, test.code)
		}
	}
	p.kek.Retire(former.KeyId)
	if err := p.follower.Ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Decrypt(t.Context(), &v2.DecryptRequest{KeyId: former.KeyId, Ciphertext: former.Ciphertext}); status.Code(err) != codes.NotFound {
		t.Errorf("Decrypt under a retired key = %v", err)
	}
}

func TestEncryptRefuses(t *testing.T) {
	t.Parallel()
	p := start(t, kubeapi.Options{}, kek.Options{})
	api := p.two(t)
	for size, code := range map[int]codes.Code{0: codes.InvalidArgument, 1: codes.OK, 983: codes.OK, 1025: codes.InvalidArgument, 200_000: codes.ResourceExhausted} {
		if _, err := api.Encrypt(t.Context(), &v2.EncryptRequest{Plaintext: make([]byte, size), Uid: "u"}); status.Code(err) != code {
			t.Errorf("%d bytes: Encrypt = %v, want %v", size, err, code)
		}
	}
}

// An API server that starts asks for the same seed thousands of times at once: the control plane is asked few times, and told of all.
func TestABurstOfEqualDecrypts(t *testing.T) {
	t.Parallel()
	p := start(t, kubeapi.Options{}, kek.Options{Canary: time.Hour})
	api := p.two(t)
	sealed, err := api.Encrypt(t.Context(), &v2.EncryptRequest{Plaintext: []byte("canary-seed"), Uid: "u"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := api.Encrypt(t.Context(), &v2.EncryptRequest{Plaintext: []byte("another seed"), Uid: "u"})
	if err != nil {
		t.Fatal(err)
	}
	p.node.Hang()
	var group sync.WaitGroup
	const burst = 5000
	uid := func(i int) string { return fmt.Sprintf("6f9619ff-8b86-d011-b42d-%012d", i) }
	answers := make(chan error, 2*burst)
	ask := func(ctx context.Context, uid string, sealed *v2.EncryptResponse, want string) {
		opened, err := api.Decrypt(ctx, &v2.DecryptRequest{KeyId: sealed.KeyId, Ciphertext: sealed.Ciphertext, Uid: uid})
		if err == nil && string(opened.Plaintext) != want {
			err = fmt.Errorf("%q, want %q", opened.Plaintext, want)
		}
		answers <- err
	}
	for i := range burst {
		group.Go(func() {
			if i%100 == 0 {
				ask(t.Context(), uid(i), other, "another seed")
				return
			}
			ask(t.Context(), uid(i), sealed, "canary-seed")
		})
	}
	leaving, leave := context.WithCancel(t.Context())
	for range 20 {
		group.Go(func() {
			_, _ = api.Decrypt(leaving, &v2.DecryptRequest{KeyId: sealed.KeyId, Ciphertext: sealed.Ciphertext, Uid: "u"})
		})
	}
	leave() // whoever began a call may be one of those
	for end := time.Now().Add(patience); p.node.Waiting() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the burst did not come to the control plane")
		}
	}
	p.node.Release()
	group.Wait()
	close(answers)
	for err := range answers {
		if err != nil {
			t.Fatalf("one of the burst: %v", err)
		}
	}
	if _, unwraps := p.kek.Counts(); unwraps > burst/2 {
		t.Errorf("a burst of %d cost %d unwraps", burst, unwraps)
	}
	named := map[string]bool{}
	for _, uid := range p.kek.UIDs() {
		named[uid] = true
	}
	for i := range burst {
		if !named[uid(i)] {
			t.Fatalf("call %d was answered, and the control plane was not told of it", i)
		}
	}
	before := p.node.Calls()
	if _, err := api.Decrypt(t.Context(), &v2.DecryptRequest{KeyId: sealed.KeyId, Ciphertext: sealed.Ciphertext, Uid: "u"}); err != nil || p.node.Calls() == before {
		t.Errorf("after the burst: %v; the seed was kept: %v", err, p.node.Calls() == before)
	}
}

// A short trouble is a text, and a long one an error: only that ends an API server's writes.
func TestStatusTellsTroubleAndLoss(t *testing.T) {
	t.Parallel()
	p := start(t, kubeapi.Options{}, kek.Options{Poll: 5 * time.Millisecond, Concern: 20 * time.Millisecond, Lost: time.Hour})
	api := p.two(t)
	p.node.Fail(codes.Unavailable)
	await(t, "a healthz text", func() bool {
		said, err := api.Status(t.Context(), &v2.StatusRequest{})
		return err == nil && said.Healthz != "ok" && said.Healthz != "" && said.KeyId == p.kek.Current() && said.Version == "v2"
	})
	p.node.Fail(codes.OK)
	await(t, "ok", func() bool {
		said, err := api.Status(t.Context(), &v2.StatusRequest{})
		return err == nil && said.Healthz == "ok"
	})
	q := start(t, kubeapi.Options{V1: true}, kek.Options{Poll: 5 * time.Millisecond, Concern: 5 * time.Millisecond, Lost: 10 * time.Millisecond})
	q.node.End()
	api = q.two(t)
	await(t, "an error", func() bool {
		_, err := api.Status(t.Context(), &v2.StatusRequest{})
		return status.Code(err) == codes.Unavailable
	})
	if _, err := api.Encrypt(t.Context(), &v2.EncryptRequest{Plaintext: []byte("x")}); status.Code(err) != codes.Unavailable {
		t.Errorf("Encrypt = %v", err)
	}
	q.node.Begin(t)
	await(t, "ok again", func() bool {
		said, err := api.Status(t.Context(), &v2.StatusRequest{})
		return err == nil && said.Healthz == "ok"
	})
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s never came", what)
		}
	}
}

// The control plane of another installation uses this plugin as it would any: its client judges it by the same rules.
func TestOurOwnClientIsContent(t *testing.T) {
	t.Parallel()
	p := start(t, kubeapi.Options{V1: true}, kek.Options{})
	two, err := kmsclient.NewV2(kmsclient.Options{Name: "keepgate", Endpoint: p.endpoint, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	said, err := two.Status(t.Context())
	if err != nil || said.KeyID != p.kek.Current() {
		t.Fatalf("Status = %+v, %v", said, err)
	}
	seed := secret.Take(bytes.Repeat([]byte{9}, 32))
	wrapped, err := two.Encrypt(t.Context(), seed)
	if err != nil || wrapped.KeyID != said.KeyID {
		t.Fatalf("Encrypt = %v, %v", wrapped.KeyID, err)
	}
	if opened, err := two.Decrypt(t.Context(), wrapped); err != nil || !opened.Equal(seed) {
		t.Errorf("Decrypt = %v", err)
	}
	one, err := kmsclient.NewV1(kmsclient.Options{Name: "keepgate", Endpoint: p.endpoint, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	cipher, err := one.Encrypt(t.Context(), seed)
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := one.Decrypt(t.Context(), cipher); err != nil || !opened.Equal(seed) {
		t.Errorf("Decrypt of version 1 = %v", err)
	}
	if uids := p.kek.UIDs(); len(uids) != 4 || slices.Contains(uids, "") {
		t.Errorf("the control plane heard of the calls %q", uids)
	}
}
