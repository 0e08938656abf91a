package settings_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
	"github.com/keepgate/keepgate/shared/settings/kmssettings"
)

// declared is a secret of a settings struct, and what the struct says of it.
type declared struct {
	value  secret.Bytes
	tag    reflect.StructTag
	source bool // there is one for its next values
}

// declaredIn walks a settings struct for its secrets, by key.
func declaredIn(structure reflect.Value) map[string]declared {
	found := map[string]declared{}
	for i := range structure.NumField() {
		field, value := structure.Type().Field(i), structure.Field(i)
		if key := field.Tag.Get("key"); field.Type == reflect.TypeFor[secret.Bytes]() {
			one := declared{value: value.Interface().(secret.Bytes), tag: field.Tag}
			if name := field.Tag.Get("source"); name != "" {
				one.source = !structure.FieldByName(name).IsNil()
			}
			found[key] = one
		} else if key == "" && value.Kind() == reflect.Struct {
			for key, one := range declaredIn(value) {
				found[key] = one
			}
		}
	}
	return found
}

// Every secret of every program can be a reference, but for what references are looked up with, and none is left empty by it.
func TestEverySecretTakesAReference(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, plane := range planes() {
		text, want := "vault_file_folder = "+folder+"\n", map[string]string{}
		for key, one := range declaredIn(reflect.ValueOf(plane).Elem()) {
			if one.tag.Get("literal") == "true" {
				continue
			}
			want[key] = "the value of " + key
			if one.tag.Get("names") == "file" {
				want[key] = "-----BEGIN PRIVATE KEY-----\n" + key
			}
			text += key + " = {vault://file/" + key + "}\n"
			if err := os.WriteFile(filepath.Join(folder, key), []byte(want[key]+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, fetches := plane.(settings.Fetcher)
		if fetches != (len(want) > 0) {
			t.Errorf("%T has %d secrets that can be references, and looks some up: %t", plane, len(want), fetches)
		}
		if !fetches {
			continue
		}
		flags := bound(t, plane, text)
		loaded, err := flags.Read()
		if err != nil || len(loaded.References()) != len(want) || len(loaded.Warnings) != 0 {
			t.Fatalf("%T: Read = %v, %+v", plane, err, loaded)
		}
		if _, err := flags.Load(t.Context()); err != nil {
			t.Fatalf("%T: %v", plane, err)
		}
		for key, one := range declaredIn(reflect.ValueOf(plane).Elem()) {
			if one.tag.Get("literal") == "true" {
				continue
			}
			if diff := cmp.Diff(want[key], reveal(one.value)); diff != "" {
				t.Errorf("%T: %s (-want +got):\n%s", plane, key, diff)
			}
			if one.source != (one.tag.Get("source") != "") {
				t.Errorf("%T: %s: a source of its next values is declared or there, not both", plane, key)
			}
		}
		if err := os.Remove(filepath.Join(folder, loaded.References()[0].Key)); err != nil {
			t.Fatal(err)
		}
		fresh := reflect.New(reflect.TypeOf(plane).Elem()).Interface()
		_, err = bound(t, fresh, text).Load(t.Context())
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), loaded.References()[0].Key+": its vault file: there is no such file") {
			t.Errorf("%T: without one of the files: %v", plane, err)
		}
		for key, one := range declaredIn(reflect.ValueOf(fresh).Elem()) {
			if one.value.Len() != 0 || one.source {
				t.Errorf("%T: %s has a value, and others have none", plane, key)
			}
		}
	}
}

// Whatever can change without a restart is what whoever uses it asks for: a secret that is read once has no source.
func TestSecretsThatAreAskedForAgain(t *testing.T) {
	t.Parallel()
	var again []string
	for _, plane := range []any{&cpsettings.ControlPlane{}, &dpsettings.DataPlane{}, &kmssettings.KMS{}} {
		for key, one := range declaredIn(reflect.ValueOf(plane).Elem()) {
			if one.tag.Get("source") != "" {
				again = append(again, key)
			}
		}
	}
	want := map[string]bool{"pg_password": true, "pg_ro_password": true, "keyring_vault_token": true}
	for _, key := range again {
		if !want[key] {
			t.Errorf("%s is asked for again", key)
		}
		delete(want, key)
	}
	if len(want) != 0 {
		t.Errorf("not asked for again: %v", want)
	}
}

// Both planes hold the vault's server to the authorities of their own ssl_trusted_certificate.
func TestPlanesTrustTheirAuthorities(t *testing.T) {
	t.Parallel()
	for key, plane := range map[string]any{"pg_password": &cpsettings.ControlPlane{}, "proxy_server": &dpsettings.DataPlane{}} {
		text := key + " = {vault://hcv/db/password}\nvault_hcv_host = 127.0.0.1\nvault_hcv_token = t\nssl_trusted_certificate = /no/ca.pem\n"
		_, err := bound(t, plane, text).Load(t.Context())
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "ssl_trusted_certificate: open /no/ca.pem: no such file or directory; mend ssl_trusted_certificate") {
			t.Errorf("%T: Load = %v", plane, err)
		}
	}
}
