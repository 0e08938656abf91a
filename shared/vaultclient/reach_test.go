package vaultclient_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/vault/api"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/vaultclient"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

func TestReadsVersion1(t *testing.T) {
	t.Parallel()
	vaulttest.Each(t, func(t *testing.T, target vaulttest.Target) {
		w := writer(t, target.Address, target.Token, target.CAFile)
		mount := "team/keepgate-" + uuid.NewString()
		if err := w.Sys().Mount(mount, &api.MountInput{Type: "kv", Options: map[string]string{"version": "1"}}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.Sys().Unmount(mount) })
		if err := w.KVv1(mount).Put(t.Context(), "app/db", map[string]any{"user": "u", "port": 5432, "tls": true, "none": nil}); err != nil {
			t.Fatal(err)
		}
		s := withToken(t, client(t, vaultclient.Options{Address: target.Address, CAFile: target.CAFile}), target.Token)
		found, err := s.ReadV1(t.Context(), mount, "app/db")
		if err != nil || found.Version != 0 || shown(found.Texts["user"]) != "u" || shown(found.Others["port"]) != "5432" || shown(found.Others["tls"]) != "true" {
			t.Errorf("read %v, %v", found, err)
		}
		if _, null := found.Texts["none"]; null || len(found.Others) != 2 {
			t.Errorf("null became something: %v", found)
		}
		for path, kind := range map[string]fault.Kind{"app/none": fault.NotFound, "../x": fault.Invalid, "": fault.Invalid} {
			if _, err := s.ReadV1(t.Context(), mount, path); fault.KindOf(err) != kind {
				t.Errorf("%q: %v, want %v", path, err, kind)
			}
		}
	})
}

func TestMalformedAnswersOfVersion1(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	s := session(t, server, server.Root)
	for _, body := range []string{`{}`, `{"data":null}`, `{"data":[]}`, `{"data":{"a":"b"`, `[]`, ``, `{"data":"s3cret"}`} {
		server.Fault(vaulttest.Fault{Times: 1, Status: 200, Body: body + " "})
		if _, err := s.ReadV1(t.Context(), "kv", "a"); fault.KindOf(err) != fault.Corrupt || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestNamespaces(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	server.Put("app", map[string]string{"k": "v"})
	s := withToken(t, client(t, vaultclient.Options{Address: server.URL, CAFile: server.CAFile, Namespace: "team/a/"}), server.Root)
	if _, err := s.Read(t.Context(), "secret", "app", 0); err != nil {
		t.Fatal(err)
	}
	if seen := server.Requests(); len(seen) != 1 || seen[0].Namespace != "team/a" {
		t.Errorf("asked %v", seen)
	}
	for _, bad := range []string{"a//b", "..", "a\r\nX-Other: b", "a b", "ü"} {
		if _, err := vaultclient.New(vaultclient.Options{Address: server.URL, Namespace: bad}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("namespace %q: %v", bad, err)
		}
	}
}

// A name that is allowed may lead anywhere, so that addresses are judged when they are known.
func TestReachRefusesAddresses(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	var asked []netip.Addr
	reach := func(to netip.Addr) error {
		asked = append(asked, to)
		return errors.New("not there")
	}
	options := vaultclient.Options{Address: strings.Replace(server.URL, "127.0.0.1", "localhost", 1), CAFile: server.CAFile, Reach: reach, Attempts: 1}
	_, err := withToken(t, client(t, options), server.Root).Read(t.Context(), "secret", "app", 0)
	if vaultclient.StepOf(err) != vaultclient.StepAddress || !strings.Contains(err.Error(), "not there") || len(asked) == 0 || !asked[0].IsLoopback() {
		t.Errorf("read: %v, asked %v", err, asked)
	}
	if len(server.Requests()) != 0 {
		t.Error("the server was asked")
	}
}

func TestFollowsOnlyWhereItMay(t *testing.T) {
	t.Parallel()
	active, standby := vaulttest.Start(t), vaulttest.Start(t)
	active.Put("app", map[string]string{"k": "v"})
	other := strings.Replace(active.URL, "127.0.0.1", "localhost", 1)
	standby.Standby(other)
	var asked []string
	options := vaultclient.Options{Address: standby.URL, CAFile: standby.CAFile, Attempts: 1, Follows: func(host string) bool {
		asked = append(asked, host)
		return false
	}}
	_, err := withToken(t, client(t, options), active.Root).Read(t.Context(), "secret", "app", 0)
	if fault.KindOf(err) != fault.Denied || len(asked) != 1 || asked[0] != "localhost" {
		t.Errorf("read: %v, asked %v", err, asked)
	}
	if seen := active.Requests(); len(seen) != 0 {
		t.Errorf("the token went to another host: %v", seen)
	}
}
