package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/pgtest"
)

const (
	keysInWorkspace = 50_000
	readsEvery      = 5 * time.Millisecond
	window          = 2 * time.Second
	looksEvery      = 2 * time.Second // at a job that works alone: a look is a request too
)

// reencryptFigures rotates the key of a database with many secrets: beside reads at first, where the job is held and
// let go in turns, so that reads with and without it are of the same minutes; and then alone, to its end.
func reencryptFigures(b *bench) {
	server, stop, err := pgtest.Launch(pgtest.Options{Settings: map[string]string{
		// As a server for production: what is committed is on disk.
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "1GB", "max_wal_size": "4GB",
	}})
	if err != nil {
		b.Fatalf("%v", err)
	}
	b.Cleanup(stop)
	c := harness.New(b)
	cp := c.ControlPlane("cp", "--log-level", "warn", "--keyring-strategy", "local", "--database", "postgres", "--pg-host", server.Socket(), "--pg-user", server.User(), "--pg-database", "postgres")
	cp.Start()
	r := &reencrypting{bench: b, admin: cp.Admin(), pids: map[string]int{"the control plane": cp.Pid(), "PostgreSQL": b.postmaster(server)}}
	r.fill()
	r.rotate(server)
	r.admin.Do(202, http.MethodPost, "/keyring/reencrypt", map[string]any{})
	harness.Eventually(b, "the first rows", func() string {
		if r.progress().Resealed == 0 {
			return "none is written"
		}
		return ""
	})
	for range b.effort.windows {
		r.turn("resume")
		r.spend(&r.beside, func() { r.with = append(r.with, r.read(window)...) })
		r.turn("pause")
		r.without = append(r.without, r.read(window)...)
	}
	r.turn("resume")
	r.finish()
	r.report()
}

type reencrypting struct {
	*bench
	admin *harness.Admin
	reads []string // paths
	old   string   // key
	pids  map[string]int

	with, without []float64 // ms a read
	beside, alone spent
}

// spent is what was spent on some rows.
type spent struct {
	time time.Duration
	rows int
	cpu  map[string]time.Duration // by process
}

type progress struct {
	State    string
	Resealed int
	Proof    struct {
		Keys []struct {
			Key  string `json:"key_id"`
			Rows int
		}
	}
}

func (r *reencrypting) progress() (p progress) {
	r.Helper()
	answer, err := r.admin.Try(http.MethodGet, "/keyring/reencrypt", nil)
	if err == nil {
		err = json.Unmarshal([]byte(answer.Body), &p)
	}
	if err != nil || answer.Status != 200 {
		r.Fatalf("reading the progress: %v, %d %s", err, answer.Status, answer.Body)
	}
	return p
}

// fill pushes the secrets, a workspace at a time.
func (r *reencrypting) fill() {
	patient := &http.Client{Timeout: 10 * time.Minute}
	for i := range r.effort.secrets / keysInWorkspace {
		name := fmt.Sprintf("w%d", i)
		r.admin.Do(201, http.MethodPost, "/workspaces", map[string]any{"name": name})
		var f strings.Builder
		fmt.Fprintf(&f, "_format_version: '3.0'\nconsumers:\n- username: u%d\nkeyauth_credentials:\n", i)
		for j := range keysInWorkspace {
			id := fmt.Sprintf("%08x-%04x-4000-8000-%012x", rand.Uint32(), i, j)
			fmt.Fprintf(&f, "- {id: %s, consumer: u%d, key: bench-key-%d-%d-of-some-length}\n", id, i, i, j)
			if j%100 == 0 {
				r.reads = append(r.reads, "/"+name+"/key-auths/"+id)
			}
		}
		request, err := http.NewRequest(http.MethodPost, r.admin.URL("/"+name+"/config"), strings.NewReader(f.String()))
		if err != nil {
			r.Fatalf("%v", err)
		}
		request.Header.Set("Content-Type", "text/yaml")
		answer, err := harness.Send(patient, request)
		if err != nil || answer.Status/100 != 2 {
			r.Fatalf("filling: %v, %d %.300s", err, answer.Status, answer.Body)
		}
	}
}

// rotate makes another key active, on a database that has come to rest.
func (r *reencrypting) rotate(server *pgtest.Server) {
	if err := server.Exec(context.Background(), "VACUUM ANALYZE"); err != nil {
		r.Fatalf("%v", err)
	}
	if err := server.Exec(context.Background(), "CHECKPOINT"); err != nil {
		r.Fatalf("%v", err)
	}
	r.old = r.admin.Do(200, http.MethodGet, "/keyring/active", nil)["id"].(string)
	made := r.admin.Do(201, http.MethodPost, "/keyring/generate", nil)
	r.admin.Do(204, http.MethodPost, "/keyring/activate", map[string]any{"key": made["id"]})
}

// turn holds the job or lets it go on, and waits until what was on its way is done and counted.
func (r *reencrypting) turn(to string) {
	if p := r.progress(); p.State != "running" && p.State != "paused" {
		r.Fatalf("the job is %s already: it needs more rows to be measured", p.State)
	}
	answer, err := r.admin.Try(http.MethodPost, "/keyring/reencrypt/"+to, nil)
	if err != nil || answer.Status != 200 && answer.Status != 409 { // it is so
		r.Fatalf("%s: %v, %d %s", to, err, answer.Status, answer.Body)
	}
	for last := -1; to == "pause"; time.Sleep(100 * time.Millisecond) {
		p := r.progress()
		if p.Resealed == last {
			return
		}
		last = p.Resealed
	}
}

// spend counts time, processor time and rows of what is done.
func (r *reencrypting) spend(into *spent, do func()) {
	begun, rows, cpu := time.Now(), r.progress().Resealed, r.cpu()
	do()
	into.time, into.rows = into.time+time.Since(begun), into.rows+r.progress().Resealed-rows
	if into.cpu == nil {
		into.cpu = map[string]time.Duration{}
	}
	for name, now := range r.cpu() {
		into.cpu[name] += now - cpu[name]
	}
}

// finish lets the job come to its end with nobody beside it, but for a look now and then. What it does at the end is
// more than rows, and not counted.
func (r *reencrypting) finish() {
	time.Sleep(looksEvery)
	for r.progress().State == "running" {
		more := r.alone
		more.cpu = maps.Clone(more.cpu)
		r.spend(&more, func() { time.Sleep(looksEvery) })
		if r.progress().State == "running" {
			r.alone = more
		}
	}
}

// read asks for credentials at a steady pace and returns how long each took, in milliseconds.
func (r *reencrypting) read(lasts time.Duration) (took []float64) {
	kept := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}
	defer kept.CloseIdleConnections()
	begun := time.Now()
	for next := begun; time.Since(begun) < lasts; next = next.Add(readsEvery) {
		time.Sleep(time.Until(next))
		request, err := http.NewRequest(http.MethodGet, r.admin.URL(r.reads[rand.N(len(r.reads))]), http.NoBody)
		if err != nil {
			r.Fatalf("%v", err)
		}
		sent := time.Now()
		answer, err := harness.Send(kept, request)
		if err != nil || answer.Status != 200 {
			r.Fatalf("reading beside the job: %v, %d %s", err, answer.Status, answer.Body)
		}
		took = append(took, float64(time.Since(sent).Microseconds())/1000)
	}
	return took
}

func (r *reencrypting) cpu() map[string]time.Duration {
	used := map[string]time.Duration{}
	for name, pid := range r.pids {
		var err error
		if used[name], err = everOnCPU(pid); err != nil {
			r.Fatalf("%v", err)
		}
	}
	return used
}

// postmaster is the process that all others of the server descend from.
func (b *bench) postmaster(server *pgtest.Server) int {
	text, err := os.ReadFile(filepath.Join(server.Socket(), "data", "postmaster.pid"))
	if err != nil {
		b.Fatalf("%v", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		b.Fatalf("postmaster.pid: %v", err)
	}
	return pid
}

func (r *reencrypting) report() {
	p := r.progress()
	if p.State != "done" || r.alone.rows == 0 || r.beside.rows == 0 {
		r.Fatalf("the job ended %s; it needs more rows to be measured", p.State)
	}
	left := 0
	for _, key := range p.Proof.Keys {
		if key.Key == r.old {
			left = key.Rows
		}
	}
	add := r.bench.report.add
	for name, used := range r.alone.cpu {
		add(figure{Name: "re-encryption, CPU for a row, " + name, Value: 1e6 * used.Seconds() / float64(r.alone.rows), Unit: "µs"})
	}
	add(figure{
		Name: "re-encryption on PostgreSQL alone, time for a row", Value: 1e6 / r.alone.perSecond(), Unit: "µs", Aim: 50,
		Note: fmt.Sprintf("%.0f rows/s of %d; %d rows left under the old key", r.alone.perSecond(), p.Resealed, left),
	})
	add(figure{
		Name: "re-encryption beside reads, rows a second", Value: r.beside.perSecond(), Unit: "rows/s",
		Note: fmt.Sprintf("a read every %v", readsEvery),
	})
	note := fmt.Sprintf("%d and %d reads of a credential, in %d windows each", len(r.with), len(r.without), r.effort.windows)
	for _, q := range []float64{0.5, 0.9, 0.99} {
		a, o := quantile(r.with, q), quantile(r.without, q)
		add(figure{Name: fmt.Sprintf("reads, p%.0f, without the job", q*100), Value: o, Unit: "ms"})
		add(figure{Name: fmt.Sprintf("reads, p%.0f, with it", q*100), Value: a, Unit: "ms"})
		aim := 0.0
		if q == 0.99 {
			aim = 1.1
		}
		add(figure{Name: fmt.Sprintf("reads, p%.0f, with ÷ without", q*100), Value: a / o, Unit: "x", Aim: aim, Note: note})
	}
}

func (s spent) perSecond() float64 { return float64(s.rows) / s.time.Seconds() }
