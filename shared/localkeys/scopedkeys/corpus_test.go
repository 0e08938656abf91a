package scopedkeys_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/localkeys/scopedkeys"
	"github.com/keepgate/keepgate/shared/secret"
)

var update = flag.Bool("update", false, "write golden files anew")

var node = scopedkeys.Who{Organisation: "hybrid-org", Environment: "prod"}

// opener opens what it was told of.
type opener map[string]string

func (o opener) OpenKey(_ context.Context, wrapped string) (secret.Bytes, error) {
	if key, known := o[wrapped]; known {
		return secret.Take([]byte(key)), nil
	}
	if strings.HasPrefix(wrapped, "kms:") {
		return secret.Bytes{}, fault.Newf(fault.Unavailable, "test.Open", "kms", "away")
	}
	return secret.Bytes{}, fault.Newf(fault.Invalid, "test.Open", "vault", "not mine")
}

func choose(s scopedkeys.Sources, who scopedkeys.Who, o scopedkeys.Opener) (*scopedkeys.Choice, error) {
	read, err := s.Read()
	if err != nil {
		return nil, err
	}
	return read.Choose(context.Background(), who, o)
}

// told is what somebody is told of a choice, or of its refusal.
func told(choice *scopedkeys.Choice, err error) string {
	var b strings.Builder
	if err != nil {
		fmt.Fprintf(&b, "refused (%v)\n", fault.KindOf(err))
		if problems, ok := errors.AsType[*scopedkeys.Problems](err); ok {
			fmt.Fprintln(&b, problems)
		} else {
			fmt.Fprintln(&b, fault.Text(err))
		}
		return b.String()
	}
	for _, warning := range choice.Warnings {
		fmt.Fprintln(&b, "warning:", warning)
	}
	for _, key := range scopedkeys.Keys() {
		e := choice.Explain(key.Section(node))
		fmt.Fprintf(&b, "%s/%s: %s, %s, from %s: %s\n", e.Section.Class, e.Section.Scope, e.Scope, e.ID, e.From, e.Why)
	}
	return b.String()
}

// private copies a file of the corpus to where nobody else may read it, and returns the name without the folder.
func private(t *testing.T, path string) (dir, name string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir, name = t.TempDir(), filepath.Base(path)
	if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, name
}

func TestCorpus(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/corpus/*.yaml")
	if err != nil || len(files) < 14 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			dir, name := private(t, file)
			s := scopedkeys.Sources{File: filepath.Join(dir, name)}
			got := told(choose(s, node, opener{}))
			s.Strict = true
			got += "strict: " + told(choose(s, node, opener{}))
			got = strings.ReplaceAll(got, dir+"/", "")
			golden := strings.TrimSuffix(file, ".yaml") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			showsNoKey(t, file, got)
		})
	}
}

// showsNoKey looks for anything of eight characters that stands in a value.
func showsNoKey(t *testing.T, file, shown string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range bytes.Fields(text) {
		value := strings.Trim(string(word), `"`)
		if _, after, slipped := strings.Cut(value, ":"); slipped && !strings.HasPrefix(value, "vault:") && !strings.HasPrefix(value, "kms:") {
			value = after
		}
		if len(value) < 20 || !strings.HasSuffix(value, "=") {
			continue
		}
		if strings.Contains(shown, value[:8]) || strings.Contains(shown, value[len(value)-10:]) {
			t.Errorf("it shows a part of a key: %s", value)
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	dir, name := private(t, "testdata/corpus/override-template-corrected.yaml")
	choice, err := choose(scopedkeys.Sources{File: filepath.Join(dir, name)}, scopedkeys.Who{Organisation: "hybrid-org", Environment: "stage"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for section, want := range map[localkeys.Section]string{
		{Class: localkeys.KVM, Scope: "stage"}:   "organisation hybrid-org",
		{Class: localkeys.KVM}:                   "organisation hybrid-org",
		{Class: localkeys.KMS}:                   "organisation hybrid-org",
		{Class: localkeys.Cache, Scope: "stage"}: "this node",
	} {
		if got := choice.Explain(section); got.Scope != want || (got.ID == "") != (want == "this node") || got.Why == "" {
			t.Errorf("Explain(%v) = %+v, want the key of %s", section, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/corpus/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("a: &a [*a, *a]\nenvs: *a\n"))
	f.Add([]byte("defaults: &d {org: *d}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := scopedkeys.Parse("f", text); err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("Parse = %v", err)
			}
			lines := 2
			for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} { // YAML 1.1 §4.1.4
				lines += bytes.Count(text, []byte(end))
			}
			problems, ok := errors.AsType[*scopedkeys.Problems](err)
			if !ok || len(problems.List) == 0 {
				t.Fatalf("Parse = %v without a problem", err)
			}
			for _, p := range problems.List {
				if p.Line < 1 || p.Line > lines {
					t.Errorf("line %d of %d", p.Line, lines)
				}
			}
		}
	})
}

func FuzzParseValue(f *testing.F) {
	for _, text := range []string{"", "QTEyMz1b2jc4OTAxMjM0NQ==", "A1b2C3d4E5f6G7h8I9j10K==", "vault:v1:AAAA", "kms:v2:AAAA", "kms:v1:AAAA", "vault:v:AAAA", "a\nb"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value, err := scopedkeys.ParseValue(text)
		if err != nil {
			if len(text) > 12 && strings.Contains(err.Error(), text) {
				t.Error("the error shows the value")
			}
			return
		}
		if _, keyErr := localkeys.NewScoped(value.Plain); (keyErr == nil) == (value.Wrapped != "") {
			t.Errorf("neither a key nor wrapped, or both: %v", keyErr)
		}
	})
}
