package keks_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/keks"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/reencrypt"
	"github.com/keepgate/keepgate/shared/fault"
)

const patience = 5 * time.Minute // nothing takes that long, on any machine

// Nothing is made that would rest in clear.
func TestKeyringOff(t *testing.T) {
	t.Parallel()
	n := openNode(t, filepath.Join(t.TempDir(), "keep.db"), "node-1", nil)
	_, err := n.keks.Create(t.Context(), "prod", 0)
	wants(t, err, fault.Invalid)
	if list, err := n.keks.List(t.Context()); err != nil || len(list) != 0 {
		t.Fatalf("List = %v, %v", list, err)
	}
	_, _, err = n.keks.Wrap(t.Context(), prod, keks.Use{Name: "prod"}, []byte("seed"))
	wants(t, err, fault.NotFound)
}

// What rests is sealed, and a restart finds it.
func TestARestartFindsTheKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, keeper := filepath.Join(dir, "keep.db"), filepath.Join(dir, "keyring.key")
	n := openNode(t, path, "node-1", local.New(keeper))
	made := n.create("prod")
	wrapped, keyID := n.wrap(keks.Use{Name: "prod"}, "seed")
	columns := n.raw("select id, name, document, body from keks")
	for _, text := range columns {
		if strings.Contains(text, "material") || strings.Contains(text, made.KeyID) {
			t.Fatalf("the database shows %s", text)
		}
	}
	if !strings.HasPrefix(columns[2], "$ke$1$-") {
		t.Fatalf("the document rests as %.20q", columns[2])
	}
	n.close()
	again := openNode(t, path, "node-1", local.New(keeper))
	again.opens(keks.Use{Name: "prod", KeyID: keyID}, wrapped, "seed")
}

func (n *node) close() {
	n.t.Helper()
	if err := n.store.Close(); err != nil {
		n.t.Fatal(err)
	}
}

// raw reads one row behind the store's back.
func (n *node) raw(query string) (values []string) {
	n.t.Helper()
	db, err := sql.Open("sqlite", "file:"+n.path)
	if err != nil {
		n.t.Fatal(err)
	}
	defer db.Close()
	values = make([]string, 4)
	if err := db.QueryRow(query).Scan(&values[0], &values[1], &values[2], &values[3]); err != nil {
		n.t.Fatal(err)
	}
	return values
}

func (n *node) exec(statement string, args ...any) {
	n.t.Helper()
	db, err := sql.Open("sqlite", "file:"+n.path+"?_pragma=busy_timeout(60000)")
	if err != nil {
		n.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement, args...); err != nil {
		n.t.Fatal(err)
	}
}

// A node that lacks the keyring's key says so, of what it never opened, and makes nothing. Recovery brings the KEKs back.
func TestALostKeyringAndItsRecovery(t *testing.T) {
	t.Parallel()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&private.PublicKey)})
	recovery, err := cluster.ParseRecoveryKey(public)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keep.db")
	before := openNode(t, path, "node-1", cluster.New(recovery))
	first := before.create("prod")
	wrapped, _ := before.wrap(keks.Use{Name: "prod"}, "seed")
	active, _, err := before.ring.Active()
	if err != nil {
		t.Fatal(err)
	}

	before.close()
	n := openNode(t, path, "node-2", cluster.New(recovery)) // a full outage: nobody holds the key
	missing := func(what string, err error) {
		t.Helper()
		if fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "key/"+active {
			t.Errorf("%s = %v, and should name key/%s", what, err, active)
		}
	}
	_, err = n.keks.Unwrap(t.Context(), prod, keks.Use{Name: "prod", KeyID: first.KeyID}, wrapped)
	missing("Unwrap", err)
	_, _, err = n.keks.Wrap(t.Context(), prod, keks.Use{Name: "prod"}, []byte("seed"))
	missing("Wrap", err)
	_, _, err = n.keks.Keys(t.Context(), "prod")
	missing("Keys", err)
	_, err = n.keks.Rotate(t.Context(), "prod")
	missing("Rotate", err)
	_, err = n.keks.Create(t.Context(), "prod", 0)
	if err == nil {
		t.Error("a second KEK of the name is made while the first does not open")
	}
	list, err := n.keks.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Err == nil || list[0].Name != "" {
		t.Errorf("List = %v, %v", list, err)
	}

	privatePEM := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})
	if _, err := n.ring.Recover(t.Context(), privatePEM, nil); err != nil {
		t.Fatal(err)
	}
	n.opens(keks.Use{Name: "prod", KeyID: first.KeyID}, wrapped, "seed")
	if c := n.rotate("prod"); c.Former != first.KeyID {
		t.Errorf("Rotate = %+v", c)
	}
}

// The keyring's key is replaced: the job writes the KEKs' rows again, and the old key is then under nothing.
func TestReencryptionCoversKEKs(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if err := n.catalog.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	made := n.create("prod")
	wrapped, _ := n.wrap(keks.Use{Name: "prod"}, "seed")
	id, _, err := n.ring.Generate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.ring.Activate(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	if p := n.ended(); p.State != reencrypt.Done {
		t.Fatalf("%+v", p)
	}
	if document := n.document(); !strings.HasPrefix(document, "$ke$1$-"+id+"-") {
		t.Errorf("the row rests as %.20q, and key %s is active", document, id)
	}
	n.beside().opens(keks.Use{Name: "prod", KeyID: made.KeyID}, wrapped, "seed")
}

// Whoever writes the database can give no cluster another one's key, and nothing that this node knows is lost.
func TestForgedRows(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	made := n.create("prod")
	n.create("test")
	wrapped, _ := n.wrap(keks.Use{Name: "prod"}, "seed")
	fresh := n.beside()
	for _, statement := range []string{
		`update keks set name = 'mallory', body = replace(body, '"test"', '"mallory"') where name = 'test'`,
		`update keks set name = 'test', body = replace(body, '"prod"', '"test"') where name = 'prod'`,
	} {
		n.exec(statement)
	}
	forged := prod
	forged.Identity = "keepgate://kms/default/-/test"
	_, err := fresh.keks.Unwrap(t.Context(), forged, keks.Use{Name: "test", KeyID: made.KeyID}, wrapped)
	if err == nil {
		t.Fatal("a renamed row serves another cluster")
	}
	_, _, err = fresh.keks.Wrap(t.Context(), prod, keks.Use{Name: "test"}, []byte("seed"))
	if err == nil {
		t.Fatal("a renamed row wraps for another cluster")
	}
	for _, one := range []*node{n, fresh} {
		if err := one.keks.Look(t.Context()); err != nil || !strings.Contains(one.log.String(), "does not verify") {
			t.Errorf("it says nothing of rows that were changed: %v\n%s", err, one.log)
		}
	}
	n.opens(keks.Use{Name: "prod", KeyID: made.KeyID}, wrapped, "seed") // from memory

	other := newNode(t)
	other.create("prod")
	other.create("test")
	other.exec(`update keks set document = (select document from keks where name = 'test') where name = 'prod'`)
	_, _, err = other.beside().keks.Wrap(t.Context(), prod, keks.Use{Name: "prod"}, []byte("seed"))
	if err == nil {
		t.Fatal("a row that was copied over another one opens")
	}
}

// What is away is not what is not there: a node that cannot read says so.
func TestTheDatabaseAway(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	made := n.create("prod")
	n.open(keks.Options{Unrecorded: true})
	wrapped, _ := n.wrap(keks.Use{Name: "prod"}, "seed")
	n.close()
	n.opens(keks.Use{Name: "prod", KeyID: made.KeyID}, wrapped, "seed") // from memory
	_, err := n.keks.Unwrap(t.Context(), prod, keks.Use{Name: "prod", KeyID: "prod.9.0011223344556677"}, wrapped)
	wants(t, err, fault.Unavailable)
	_, _, err = n.keks.Wrap(t.Context(), prod, keks.Use{Name: "other"}, []byte("seed"))
	wants(t, err, fault.Unavailable)
}
