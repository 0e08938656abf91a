package storetest

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

func (b *bench) ringOf(t *testing.T, keys ...record.Key) {
	t.Helper()
	old := b.keyring(t).Head
	text := "1"
	if old != nil {
		n, err := strconv.Atoi(*old)
		if err != nil {
			t.Fatal(err)
		}
		text = strconv.Itoa(n + 1)
	}
	if err := b.ChangeKeyring(t.Context(), "", old, text, keys); err != nil {
		t.Fatal(err)
	}
}

// testKeyTakenOutOfUse: nothing is committed under a key that seals no more, however long ago it was sealed.
func testKeyTakenOutOfUse(t *testing.T, b *bench) {
	b.ringOf(t, record.Key{ID: "usable00", State: record.KeyUsable})
	other := []record.Key{{ID: "ended000", State: "deactivated"}, {ID: "usable01", State: record.KeyUsable}} // ids are unique over all rings
	if err := b.ChangeKeyring(t.Context(), "kms/vault", nil, "1", other); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, err error) {
		t.Helper()
		if fault.KindOf(err) != fault.Conflict || fault.SubjectOf(err) != "key/ended000" {
			t.Errorf("%s: %v, want a conflict over the key", what, err)
		}
	}
	consumer := b.consumer(newID(), sealed("ended000", "a name is no secret"))
	credential := b.credential(newID(), consumer.ID, "ann")
	credential.Sealed = map[string]string{"password": sealed("usable00", "p")}
	b.apply(t, insert(consumer), insert(credential), insert(b.plugin(`{"config":"`+sealed("usable00", "x")+`"}`)),
		insert(b.plugin(`{"config":["`+sealed("foreign0", "x")+`","`+kms2("usable01", "AAAA")+`"]}`)))
	bob, kms := b.credential(newID(), consumer.ID, "bob"), b.credential(newID(), consumer.ID, "joe")
	bob.Sealed = map[string]string{"password": sealed("usable00", "p"), "password_check": sealed("ended000", "c")}
	kms.Sealed = map[string]string{"password": kms2("ended000", "AAAA")}
	for what, row := range map[string]record.Row{
		"a sealed column": bob, "a column sealed by a plugin's seed": kms,
		"a body sealed by a plugin's seed": b.plugin(`{"config":["` + kms2("ended000", "AAAA") + `"]}`), "a sealed body": b.plugin(`{"config":["` + sealed("usable00", "x") + `","` + sealed("ended000", "x") + `"]}`),
	} {
		for _, silent := range []bool{false, true} {
			_, err := b.Apply(t.Context(), record.Batch{Changes: []record.Change{insert(row)}, Silent: silent})
			refused(fmt.Sprintf("%s, silent %t", what, silent), err)
		}
	}
	stored := b.stored(t, credential)
	_, err := b.Reseal(t.Context(), "basicauth_credentials", []record.Resealed{
		{ID: stored.ID, Generation: stored.Generation, Sealed: map[string]string{"password": sealed("ended000", "p")}},
	})
	refused("sealing anew", err)
	if again := b.stored(t, credential); again.Sealed["password"] != sealed("usable00", "p") {
		t.Errorf("a refused write changed the row to %v", again.Sealed)
	}
	b.ringOf(t, record.Key{ID: "usable00", State: "removed"})
	b.apply(t, remove(stored)) // which writes nothing under the key
}

// testKeyTakenOutOfUseBeside: what is counted after a key was taken out of use is all that there will ever be.
func testKeyTakenOutOfUseBeside(t *testing.T, b *bench) {
	consumer := b.consumer(newID(), "ann")
	b.apply(t, insert(consumer))
	const keys, writers = 5, 4
	for n := range keys {
		key := record.Key{ID: fmt.Sprintf("key%05d", n), State: record.KeyUsable}
		b.ringOf(t, key)
		var all sync.WaitGroup
		var ended atomic.Bool
		for w := range writers {
			all.Go(func() {
				for i, last := 0, false; !last; i++ {
					last = ended.Load() // one more is tried then
					row := b.credential(newID(), consumer.ID, fmt.Sprint(n, "-", w, "-", i))
					row.Sealed = map[string]string{"password": sealed(key.ID, "p")}
					switch _, err := b.Apply(t.Context(), record.Batch{Changes: []record.Change{insert(row)}}); {
					case fault.KindOf(err) == fault.Conflict && fault.SubjectOf(err) == "key/"+key.ID:
						return
					case err != nil:
						t.Error(err)
						return
					}
				}
			})
		}
		for rows := 0; rows < 3*writers; rows = b.under(t, key.ID) { // they are writing
		}
		key.State = "deactivated"
		b.ringOf(t, key)
		counted := b.under(t, key.ID)
		ended.Store(true)
		all.Wait()
		if rows := b.under(t, key.ID); rows != counted {
			t.Errorf("%d rows were under the key when it was out of use, and %d later", counted, rows)
		}
	}
}

func (b *bench) under(t *testing.T, key string) (rows int) {
	t.Helper()
	for _, count := range b.counted(t) {
		if count.Key == key {
			rows += count.Rows
		}
	}
	return rows
}
