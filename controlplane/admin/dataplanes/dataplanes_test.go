package dataplanes_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/admin/dataplanes"
	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/fleet"
)

// known is a fleet that is there.
type known struct {
	all   []fleet.Status
	lists int
}

func (k *known) List(context.Context) ([]fleet.Status, error) {
	k.lists++
	return slices.Clone(k.all), nil
}

// one is a data plane that is well.
func one(environment, name string, edits ...func(*fleet.Status)) fleet.Status {
	s := fleet.Status{
		Label: fleet.Label{NodeID: "id-of-" + environment + "-" + name, Version: "1.2.0", Labels: map[string]string{"region": "eu"}},
		Name:  name, Environment: environment, SyncStatus: fleet.Normal, Linked: true, LastSeen: time.Now().Unix(),
		Held: fleet.Held{Epoch: 1, Version: 7, Hash: "aa"},
	}
	for _, edit := range edits {
		edit(&s)
	}
	return s
}

// room is the paths over a fleet.
type room struct {
	t     *testing.T
	table *rest.Table
	fleet *known
}

func newRoom(t *testing.T, all ...fleet.Status) *room {
	t.Helper()
	r := &room{t, rest.NewTable(), &known{all: all}}
	dataplanes.New(dataplanes.Deps{
		Fleet: r.fleet, Version: "1.2.0", PurgeDelay: time.Hour,
		Newest: func(environment string) (dataplanes.Position, bool) {
			return dataplanes.Position{Epoch: 1, Version: 9, Hash: "bb"}, environment == "prod"
		},
		Lag: func(environment string, held fleet.Held) (fleet.Lag, bool) {
			return fleet.Lag{Versions: 9 - held.Version}, environment == "prod"
		},
		Enrolled: func(context.Context) (map[string]dataplanes.Enrolment, error) {
			return map[string]dataplanes.Enrolment{
				"prod/stolen": {JoinedAt: 5, RevokedAt: 7, Reason: "lost"}, "prod/anew": {JoinedAt: 6, Serials: []string{"0b", "0a"}},
			}, nil
		},
		Head: func(context.Context) (uint64, error) { return 12, nil }, Published: func() uint64 { return 11 },
		Plugin:        func(string) (string, bool) { return "1.0.0", true },
		AcceptRestore: func(context.Context) (uint64, error) { return 0, errors.New("not asked for") },
	}).Mount(r.table)
	return r
}

// page is an answer of the list.
type page struct {
	Data []struct {
		ID, Name, Environment string
		SyncStatus            string `json:"sync_status"`
		Lag                   *fleet.Lag
		Revoked, Replaced     bool
		Plugins               map[string]string
	}
	Offset, Next, Message string
	Total                 int
	Newest                *dataplanes.Position
	Environments          map[string]dataplanes.Position
	Revision              map[string]uint64
}

func (r *room) get(path string) (p page, status int) {
	r.t.Helper()
	request := httptest.NewRequest(http.MethodGet, path, nil)
	m, found := r.table.Find(request.URL.EscapedPath())
	if !found {
		r.t.Fatalf("no path %s", path)
	}
	answer, err := m.Handler(http.MethodGet)(rest.NewRequest(httptest.NewRecorder(), request, m))
	if err != nil {
		answer, _ = rest.Of(err)
	}
	if err := json.Unmarshal(answer.Body, &p); err != nil {
		r.t.Fatalf("%s: %s: %v", path, answer.Body, err)
	}
	return p, answer.Status
}

func names(p page) string {
	var list []string
	for _, d := range p.Data {
		list = append(list, d.Environment+"/"+d.Name)
	}
	return strings.Join(list, " ")
}

func TestFilters(t *testing.T) {
	t.Parallel()
	r := newRoom(t,
		one("staging", "a"), one("prod", "b", func(s *fleet.Status) { s.Labels = map[string]string{"region": "us", "tier": "1"} }),
		one("prod", "a", func(s *fleet.Status) { s.SyncStatus = fleet.Refused }),
		one("prod", "away", func(s *fleet.Status) { s.LastSeen -= 120 }), one("prod", "stolen", func(s *fleet.Status) { s.Left = true }),
		one("prod", "old", func(s *fleet.Status) { s.Version = "0.9.0" }),
		one("prod", "bare", func(s *fleet.Status) {
			s.Plugins, s.Quarantined = map[string]string{"acl": "1.0.0"}, []fleet.Quarantined{{Kind: "plugins", Name: "jwt"}}
		}),
	)
	for query, want := range map[string]string{
		"":                                      "prod/a prod/away prod/b prod/bare prod/old prod/stolen staging/a",
		"environment=staging":                   "staging/a",
		"environment=nowhere":                   "",
		"label=region:us":                       "prod/b",
		"label=region:us&label=tier:1":          "prod/b",
		"label=region:us,tier:2":                "",
		"label=region:":                         "",
		"status=normal":                         "prod/away prod/b prod/stolen staging/a",
		"status=refused":                        "prod/a",
		"status=away":                           "prod/away prod/stolen",
		"status=linked&environment=prod":        "prod/a prod/b prod/bare prod/old",
		"status=revoked":                        "prod/stolen",
		"status=quarantined":                    "prod/bare",
		"status=plugin_set_incompatible":        "prod/bare",
		"status=kong_version_incompatible":      "prod/old",
		"status=plugin_version_incompatible":    "",
		"environment=prod&status=normal&size=1": "prod/away",
	} {
		p, status := r.get("/clustering/data-planes?" + query)
		if status != 200 || names(p) != want {
			t.Errorf("?%s: %d %q, want %q", query, status, names(p), want)
		}
	}
	for _, query := range []string{"label=region", "label=a:1&label=a:2", "status=good", "size=0", "size=x", "offset=x", "offset=%5B%5D", "offset=eyJhIjoxfQ"} {
		if p, status := r.get("/clustering/data-planes?" + query); status != 400 || p.Message == "" {
			t.Errorf("?%s: %d %+v", query, status, p)
		}
	}
	p, _ := r.get("/clustering/data-planes")
	if p.Newest != nil || len(p.Environments) != 1 || p.Environments["prod"].Version != 9 {
		t.Errorf("what there is to hold: %+v %+v", p.Newest, p.Environments)
	}
	if p, _ = r.get("/clustering/data-planes?environment=prod"); p.Newest == nil || p.Newest.Version != 9 || p.Total != 6 ||
		!cmp.Equal(p.Revision, map[string]uint64{"database": 12, "published": 11}) {
		t.Errorf("of prod: %+v", p)
	}
	if d := p.Data[5]; d.Name != "stolen" || !d.Revoked || d.Lag == nil || d.Lag.Versions != 2 {
		t.Errorf("one of them: %+v", d)
	}
}

// What is left of a data plane whose machine was set up anew does not stand in the way of the one that has its name.
func TestReplaced(t *testing.T) {
	t.Parallel()
	with := func(serial, id string, left bool) fleet.Status {
		return one("prod", "anew", func(s *fleet.Status) { s.Serial, s.NodeID, s.Left = serial, id, left })
	}
	r := newRoom(t, with("01", "gone", true), with("02", "linked by it yet", false), with("0a", "away", true), with("0b", "new", false))
	p, _ := r.get("/clustering/data-planes")
	for _, d := range p.Data {
		if d.Replaced != (d.ID == "gone") {
			t.Errorf("%s is replaced: %v", d.ID, d.Replaced)
		}
	}
	if p, _ := r.get("/clustering/data-planes?status=replaced"); len(p.Data) != 1 || p.Data[0].ID != "gone" {
		t.Errorf("those replaced: %+v", p.Data)
	}
	r = newRoom(t, with("01", "gone", true), with("0b", "new", false))
	if _, status := r.get("/clustering/data-planes/anew"); status != 200 {
		t.Errorf("by the name that another had: %d", status)
	}
	r = newRoom(t, with("01", "gone", true))
	if _, status := r.get("/clustering/data-planes/anew"); status != 200 {
		t.Errorf("the only one of its name: %d", status)
	}
}

func TestOne(t *testing.T) {
	t.Parallel()
	r := newRoom(t, one("prod", "a", func(s *fleet.Status) { s.Plugins = map[string]string{"acl": "1.0.0"} }), one("staging", "a"), one("staging", "b"))
	for path, want := range map[string]int{
		"b": 200, "id-of-prod-a": 200, "ID-OF-PROD-A": 200, "prod%2Fa": 200, "a?environment=staging": 200, "a": 400, "c": 404, "b?environment=prod": 404, "a?status=good": 400,
	} {
		if _, status := r.get("/clustering/data-planes/" + path); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	request := httptest.NewRequest(http.MethodGet, "/clustering/data-planes/prod%2Fa", nil)
	m, _ := r.table.Find(request.URL.EscapedPath())
	if answer, err := m.Handler(http.MethodGet)(rest.NewRequest(nil, request, m)); err != nil || !strings.Contains(string(answer.Body), `"plugins":{"acl":"1.0.0"}`) {
		t.Errorf("%s %v", answer.Body, err)
	}
}

// TestPagesHold: data planes come and go while somebody pages, and those that stay are seen once each. A page costs one
// reading of the fleet, however many there are.
func TestPagesHold(t *testing.T) {
	t.Parallel()
	const many = 5000
	var all []fleet.Status
	for i := range many {
		all = append(all, one("prod", fmt.Sprintf("edge-%04d", i)))
	}
	r := newRoom(t, all...)
	seen := map[string]int{}
	path, pages := "/clustering/data-planes?size=1000&label=region%3Aeu", 0
	for ; path != ""; pages++ {
		p, status := r.get(path)
		if status != 200 {
			t.Fatalf("%s: %d", path, status)
		}
		for _, d := range p.Data {
			seen[d.Name]++
		}
		next, err := url.Parse(p.Next)
		if err != nil || p.Next != "" && next.Query().Get("label") != "region:eu" {
			t.Fatalf("next page: %q %v", p.Next, err)
		}
		path = p.Next
		r.fleet.all = r.fleet.all[5:] // who was seen leaves
		r.fleet.all = append(r.fleet.all, one("prod", fmt.Sprintf("edge-0000-%d", pages)))
	}
	if pages != many/1000 && pages != many/1000+1 {
		t.Errorf("%d pages", pages)
	}
	if r.fleet.lists != pages {
		t.Errorf("the fleet was read %d times for %d pages", r.fleet.lists, pages)
	}
	for i := 30; i < many; i++ {
		if n := seen[fmt.Sprintf("edge-%04d", i)]; n != 1 {
			t.Fatalf("edge-%04d was seen %d times", i, n)
		}
	}
}
