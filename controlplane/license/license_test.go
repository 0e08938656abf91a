package license_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/license"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// text is a license that ends after a day; the rest of it must show nowhere.
func text(day string) string {
	return `{"license":{"payload":{"license_expiration_date":"` + day + `","customer":"CANARY","license_key":"CANARY"},"signature":"CANARY"}}`
}

// licenses is /licenses.
type licenses struct {
	mu   sync.Mutex
	page catalog.Page
	err  error
}

func (l *licenses) List(_ context.Context, q catalog.Query) (catalog.Page, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q.Table != "licenses" || q.Workspace != "" {
		return catalog.Page{}, fmt.Errorf("asked for %+v", q)
	}
	return l.page, l.err
}

func (l *licenses) set(page catalog.Page, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.page, l.err = page, err
}

func row(id string, updated int64, payload string) *configv1.License {
	return &configv1.License{Id: &id, UpdatedAt: &updated, Payload: &payload}
}

func rows(list ...*configv1.License) (page catalog.Page) {
	for _, l := range list {
		page.Entities = append(page.Entities, proto.Message(l))
	}
	return page
}

func closed(id string, kind fault.Kind) catalog.Page {
	return catalog.Page{Undecryptable: []catalog.Undecryptable{{
		Table: "licenses", ID: id, Err: fault.Newf(kind, "catalog.Open", "key/LaW1urRQ", "this node does not hold it"),
	}}}
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "license.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhichLicenseIsInForce(t *testing.T) {
	t.Parallel()
	const good, over = "2999-01-31", "2020-01-31"
	all := rows(row("a", 10, text(good)), row("b", 30, text("2999-03-03")), row("c", 20, text(good)))
	tests := map[string]struct {
		data, path string
		page       catalog.Page
		err        error
		want       license.Status
		says       string // in the reason
	}{
		"none":                   {want: license.Status{State: license.None}},
		"the newest":             {page: all, want: license.Status{State: license.Active, Source: "licenses/b", Expires: "2999-03-03"}},
		"license_data first":     {data: text(good), page: all, want: license.Status{State: license.Active, Source: "license_data", Expires: good}},
		"license_path first":     {path: file(t, text(good)), page: all, want: license.Status{State: license.Active, Source: "license_path", Expires: good}},
		"data before path":       {data: text(good), path: file(t, text(good)), want: license.Status{State: license.Active, Source: "license_data", Expires: good}},
		"without a date":         {data: `{"license":{"payload":{}}}`, want: license.Status{State: license.Active, Source: "license_data"}},
		"expired":                {data: text(over), want: license.Status{State: license.Expired, Source: "license_data", Expires: over}},
		"expired beside a good":  {data: text(over), page: all, want: license.Status{State: license.Active, Source: "licenses/b", Expires: "2999-03-03"}},
		"the newest is expired":  {page: rows(row("a", 1, text(good)), row("b", 2, text(over))), want: license.Status{State: license.Expired, Source: "licenses/b", Expires: over}},
		"no license":             {data: "CANARY", want: license.Status{State: license.Invalid, Source: "license_data"}, says: "not a license"},
		"no license, and a good": {data: "CANARY", path: file(t, text(good)), want: license.Status{State: license.Active, Source: "license_path", Expires: good}},
		"no file":                {path: filepath.Join(t.TempDir(), "absent"), want: license.Status{State: license.Unreadable, Source: "license_path"}, says: "no such file"},
		"a folder":               {path: t.TempDir(), want: license.Status{State: license.Unreadable, Source: "license_path"}, says: "no file"},
		"a huge file":            {path: file(t, strings.Repeat(" ", 1<<20)), want: license.Status{State: license.Invalid, Source: "license_path"}, says: "longer"},
		"waiting for a key":      {page: closed("a", fault.Unavailable), want: license.Status{State: license.Pending, Source: "licenses/a"}, says: "key/LaW1urRQ"},
		"waiting, with data":     {data: text(good), page: closed("a", fault.Unavailable), want: license.Status{State: license.Active, Source: "license_data", Expires: good}},
		"damaged":                {page: closed("a", fault.Corrupt), want: license.Status{State: license.Unreadable, Source: "licenses/a"}, says: "hold"},
		"no database":            {err: fault.Newf(fault.Unavailable, "postgres.List", "", "connection refused"), want: license.Status{State: license.Unreadable, Source: "licenses"}, says: "connection refused"},
		"no database, with data": {
			data: text(good), err: errors.New("gone"), want: license.Status{State: license.Active, Source: "license_data", Expires: good},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			l := license.New(&licenses{page: test.page, err: test.err}, license.Given{Data: secret.Take([]byte(test.data)), Path: test.path},
				license.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			if s := l.Status(); s.State != license.None {
				t.Errorf("before anything was read: %+v", s)
			}
			l.Load(t.Context())
			got := l.Status()
			if got.State != test.want.State || got.Source != test.want.Source || got.Expires != test.want.Expires || !strings.Contains(got.Reason, test.says) {
				t.Errorf("Status = %+v, want %+v and a reason with %q", got, test.want, test.says)
			}
			if (got.Reason == "") != (test.says == "") {
				t.Errorf("reason %q", got.Reason)
			}
			if strings.Contains(fmt.Sprintf("%+v%s", got, log.String()), "CANARY") {
				t.Errorf("the license shows: %+v %s", got, log.String())
			}
			if told := strings.Contains(log.String(), "state="+string(got.State)); told != (got.State != license.None) {
				t.Errorf("logged %q", log.String())
			}
		})
	}
}

// run lets l follow in the background of a bubble, and returns how to end it.
func run(t *testing.T, l *license.Licenses) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	}
}

// TestWhatHappensMeanwhileShows: licenses that come, wait, open, and a database that goes away.
func TestWhatHappensMeanwhileShows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &licenses{}
		l := license.New(db, license.Given{}, license.Options{})
		l.Load(t.Context())
		defer run(t, l)()
		step := func(page catalog.Page, err error, wake bool, wait time.Duration, want license.State) {
			t.Helper()
			synctest.Wait()
			db.set(page, err)
			if wake {
				l.Wake()
				l.Wake()
			}
			time.Sleep(wait)
			synctest.Wait()
			if got := l.Status(); got.State != want {
				t.Errorf("%+v, want %s", got, want)
			}
		}
		open, gone := rows(row("a", 1, text("2999-01-01"))), errors.New("gone")
		step(closed("a", fault.Unavailable), nil, true, 0, license.Pending)
		step(open, nil, false, time.Second, license.Active) // the ring told nobody
		step(catalog.Page{}, gone, true, time.Hour, license.Active)
		step(catalog.Page{}, nil, true, 0, license.None)
		step(open, nil, false, 10*time.Second, license.Active)
		step(closed("a", fault.Unavailable), nil, true, 0, license.Pending)
	})
}

// heard is a log that is read while it is written.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

// take returns what was logged since.
func (h *heard) take() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.text.Reset()
	return h.text.String()
}

// TestTheLogIsToldOnceADay of a license that ends, from thirty days before on.
func TestTheLogIsToldOnceADay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log heard
		end := time.Now().Add(40 * 24 * time.Hour).UTC() // in a bubble it is midnight
		l := license.New(&licenses{}, license.Given{Data: secret.Take([]byte(text(end.Format(time.DateOnly))))},
			license.Options{Poll: time.Hour, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
		l.Load(t.Context())
		stop := run(t, l)
		said := func(days int, soon, over int) {
			t.Helper()
			time.Sleep(time.Duration(days) * 24 * time.Hour)
			synctest.Wait()
			text := log.take()
			if s, o := strings.Count(text, "expires soon"), strings.Count(text, "has expired"); s != soon || o != over {
				t.Errorf("told %d times that it ends and %d times that it is over, want %d and %d", s, o, soon, over)
			}
		}
		said(11, 0, 0)
		said(1, 1, 0)
		said(20, 20, 0)
		if s := l.Status(); s.State != license.Active {
			t.Errorf("before its end: %+v", s)
		}
		said(9, 9, 0)
		said(6, 0, 6)
		if s := l.Status(); s.State != license.Expired {
			t.Errorf("after its end: %+v", s)
		}
		stop()
	})
}
