package kek_test

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/kek"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/wraptest"
	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
)

var update = flag.Bool("update", false, "write golden files anew")

// What no API server could be told is refused, and what is known stays.
func TestAnswersThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		distort func(*wrapv1.DescribeResponse)
		says    string
	}{
		"another KEK":        {func(a *wrapv1.DescribeResponse) { a.Name = "other" }, "another KEK"},
		"no keys":            {func(a *wrapv1.DescribeResponse) { a.Keys = nil }, "no key"},
		"an empty key_id":    {func(a *wrapv1.DescribeResponse) { a.Keys[0].KeyId = "" }, "0 bytes"},
		"a key_id too long":  {func(a *wrapv1.DescribeResponse) { a.Keys[0].KeyId = strings.Repeat("k", 1025) }, "1025 bytes"},
		"a key_id of bytes":  {func(a *wrapv1.DescribeResponse) { a.Keys[0].KeyId = "\xff" }, "UTF-8"},
		"the same key twice": {func(a *wrapv1.DescribeResponse) { a.Keys = append(a.Keys, a.Keys[0]) }, "two keys"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &plane{kek: wraptest.NewKEK(t, "prod")}
			f := kek.New(p, "prod", kek.Options{})
			if err := f.Ask(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.set(func(p *plane) { p.says = test.distort })
			if err := f.Ask(t.Context()); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("Ask = %v, want %q", err, test.says)
			}
			if v := f.Verdict(); v.Current.ID != p.kek.Current() {
				t.Errorf("current is %q", v.Current.ID)
			}
		})
	}
}

func TestTryAndReport(t *testing.T) {
	t.Parallel()
	p := &plane{kek: wraptest.NewKEK(t, "prod")}
	f := kek.New(p, "prod", kek.Options{})
	if err := f.Ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.Try(t.Context()); err != nil {
		t.Errorf("Try = %v", err)
	}
	p.set(func(p *plane) { p.away = true })
	if err := f.Try(t.Context()); err == nil {
		t.Error("Try works while nobody answers")
	}
	r := f.Report()
	if r.Name != "prod" || len(r.Keys) != 1 || !r.Keys[0].IsUsed || r.Keys[0].ID != p.kek.Current() || r.HeardAt.IsZero() || !r.Keys[0].UsedAt.IsZero() {
		t.Errorf("Report = %+v", r)
	}
}

// Whoever asked and has gone says nothing of the control plane.
func TestACancelledQuestionIsNoOutage(t *testing.T) {
	t.Parallel()
	p := &plane{kek: wraptest.NewKEK(t, "prod")}
	f := kek.New(p, "prod", kek.Options{})
	if err := f.Ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.set(func(p *plane) { p.away = true })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Ask(ctx); err == nil {
		t.Error("Ask works")
	}
	if v := f.Verdict(); v.Trouble != "" {
		t.Errorf("Verdict = %+v", v)
	}
}

func TestMarkFile(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	m := kek.MarkFile{Path: filepath.Join(t.TempDir(), "kms.mark"), Log: slog.New(slog.NewTextHandler(&log, nil))}
	if key, ok := m.Load("prod"); ok || log.Len() > 0 {
		t.Errorf("Load of no file = %v, %v, and the log says %s", key, ok, log.String())
	}
	want := kek.Key{ID: "prod.7.0123456789abcdef", Generation: 7, CreatedAt: time.Unix(1795353600, 0)}
	if err := m.Save("prod", want); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/mark.golden", m.Path)
	if key, ok := m.Load("prod"); !ok || key != want {
		t.Errorf("Load = %v, %v", key, ok)
	}
	if key, ok := m.Load("other"); ok || log.Len() > 0 {
		t.Errorf("Load for another KEK = %v, %v", key, ok)
	}
	for _, text := range []string{"", "{", `{"version":2,"kek":"prod","key_id":"x"}`, `{"version":1,"kek":"prod"}`, strings.Repeat(" ", 9000), `{"version":1,"kek":"prod","key_id":"x","more":1}`} {
		log.Reset()
		if err := os.WriteFile(m.Path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if key, ok := m.Load("prod"); ok || !strings.Contains(log.String(), "not known") {
			t.Errorf("Load of %.50q = %v, %v, and the log says %q", text, key, ok, log.String())
		}
	}
	if err := (kek.MarkFile{Path: filepath.Join(t.TempDir(), "none", "x")}).Save("prod", want); err == nil {
		t.Error("Save into no folder works")
	}
}

func golden(t *testing.T, path, made string) {
	t.Helper()
	got, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s = %q, want %q", path, got, want)
	}
}

func FuzzMark(f *testing.F) {
	f.Add([]byte(`{"version":1,"kek":"prod","key_id":"prod.7.0123456789abcdef","generation":7,"created_at":1795353600}`))
	f.Add([]byte(`{"version":1,"kek":"prod","key_id":"x","generation":18446744073709551615,"created_at":-1}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := kek.MarkFile{Path: filepath.Join(t.TempDir(), "m"), Log: slog.New(slog.DiscardHandler)}
		if err := os.WriteFile(m.Path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		key, ok := m.Load("prod")
		if !ok {
			return
		}
		if err := m.Save("prod", key); err != nil {
			t.Fatal(err)
		}
		if again, ok := m.Load("prod"); !ok || again != key {
			t.Errorf("%v was saved and %v, %v loaded", key, again, ok)
		}
	})
}
