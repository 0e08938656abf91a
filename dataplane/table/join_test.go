package table_test

import (
	"crypto/tls"
	"testing"

	"github.com/keepgate/keepgate/dataplane/table"
)

func TestJoinFollowsPathHandlingV0(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		base, path string
		strip      int
		want       string
	}{
		// strip, base ends in "/"
		{"/", "/fake", 5, "/"},
		{"/", "/fake/", 5, "/"},
		{"/", "/fake/x", 5, "/x"},
		{"/", "/fakex", 5, "/x"},
		{"/up/", "/fake", 5, "/up"},
		{"/up/", "/fake/", 6, "/up/"},
		{"/up/", "/fake/x", 5, "/up/x"},
		{"/up/", "/fakex", 5, "/up/x"},
		// strip, base does not
		{"/up", "/fake", 5, "/up"},
		{"/up", "/fake/", 6, "/up/"},
		{"/up", "/fake/", 5, "/up/"},
		{"/up", "/fakex", 5, "/up/x"},
		{"/up", "/", 1, "/up"},
		{"/up", "/x", 1, "/up/x"},
		// no strip
		{"/", "/a", 0, "/a"},
		{"/", "/", 0, "/"},
		{"/up/", "/a", 0, "/up/a"},
		{"/up", "/a", 0, "/up/a"},
		{"/up", "/", 0, "/up"},
		{"/up/", "/", 0, "/up/"},
	} {
		if got := string(table.Join(nil, test.base, test.path, test.strip)); got != test.want {
			t.Errorf("Join(%q, %q, %d) = %q, want %q", test.base, test.path, test.strip, got, test.want)
		}
	}
}

func TestCertificateByServerName(t *testing.T) {
	t.Parallel()
	names := map[string][]*tls.Certificate{}
	for _, name := range []string{"a.b.test", "*.b.test", "a.*", "a.b.*", "*"} {
		names[name] = []*tls.Certificate{{OCSPStaple: []byte(name)}}
	}
	c := table.NewCertificates(names)
	for name, want := range map[string]string{
		"a.b.test": "a.b.test", "A.B.Test.": "a.b.test", "x.b.test": "*.b.test", "a.b.other": "a.b.*", "a.other": "a.*",
		"a.x.y": "*", "x.a.b.test": "*", "": "*", "*": "*",
	} {
		found := c.Lookup(name)
		if len(found) == 0 || string(found[0].OCSPStaple) != want {
			t.Errorf("Lookup(%q) is not the certificate of %q", name, want)
		}
	}
	delete(names, "*")
	if table.NewCertificates(names).Lookup("x.y.z") != nil {
		t.Error("without * an unknown name must find nothing: the default serves")
	}
}
