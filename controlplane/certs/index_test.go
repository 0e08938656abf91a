package certs

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/shared/mtls/identity"
)

func sample() index {
	return index{Version: 1, Organisation: "acme", CRLNumber: 7, Certificates: []Entry{
		{
			Serial: "0a1b2c", Role: identity.DataPlane, Environment: "prod", Name: "edge-1",
			NotBefore: 1_750_000_000, NotAfter: 1_781_536_000, KeySHA256: "00ff", RevokedAt: 1_760_000_000,
		},
		{
			Serial: "ff", Role: identity.ControlPlane, Name: "control-plane",
			NotBefore: 1_750_000_000, NotAfter: 1_781_536_000, KeySHA256: "11ee", KeyMadeHere: true,
		},
	}}
}

func TestIndexForm(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile(filepath.Join("testdata", "issued.golden"))
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := sample().encode()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(golden), string(encoded)); diff != "" {
		t.Errorf("the stored form changed (-want +got):\n%s", diff)
	}
	parsed, err := parseIndex(golden)
	if diff := cmp.Diff(sample(), parsed); err != nil || diff != "" {
		t.Errorf("parseIndex: %v (-want +got):\n%s", err, diff)
	}
}

func TestParseIndexRefuses(t *testing.T) {
	t.Parallel()
	golden, err := sample().encode()
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string][2]string{ // what is replaced by what
		"a newer version":             {`"version": 1`, `"version": 2`},
		"an unknown field":            {`"crl_number"`, `"crl_numbers"`},
		"a negative number":           {`"crl_number": 7`, `"crl_number": -7`},
		"a serial that is no hex":     {`"0a1b2c"`, `"edge"`},
		"a serial in upper case":      {`"ff"`, `"FF"`},
		"a serial with leading zeros": {`"0a1b2c"`, `"000a1b2c"`},
		"serial zero":                 {`"ff"`, `"00"`},
		"one serial twice":            {`"0a1b2c"`, `"ff"`},
		"an unknown role":             {`"data-plane"`, `"root"`},
		"a bad name":                  {`"edge-1"`, `"edge/1"`},
		"no organisation":             {`"acme"`, `""`},
	}
	for name, swap := range tests {
		if x, err := parseIndex(bytes.Replace(golden, []byte(swap[0]), []byte(swap[1]), 1)); err == nil {
			t.Errorf("%s: parsed as %+v", name, x)
		}
	}
	if _, err := parseIndex(append(golden, "{}"...)); err == nil {
		t.Error("a second value after the list: parsed")
	}
}

func FuzzParseIndex(f *testing.F) {
	golden, err := sample().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add([]byte(`{"version":1,"organisation":"a","crl_number":0,"certificates":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := parseIndex(data)
		if err != nil {
			return
		}
		encoded, err := x.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseIndex(encoded)
		if err != nil || len(again.Certificates) != len(x.Certificates) {
			t.Errorf("what is read cannot be written and read again: %v", err)
		}
	})
}
