package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// probeFile answers /probe with a number, so that one can see which configuration serves; around it stands enough
// that a whole snapshot is more than one write.
func probeFile(number int) string {
	var f strings.Builder
	fmt.Fprintf(&f, `_format_version: "3.0"
routes:
- name: probe
  paths: [/probe]
  plugins: [{name: request-termination, instance_name: probe, config: {status_code: 200, message: "number %d"}}]
- {name: keyed, paths: [/keyed], plugins: [{name: key-auth}]}
consumers:
`, number)
	for i := range 200 {
		fmt.Fprintf(&f, "- {username: user-%d, custom_id: id-%d-%d, keyauth_credentials: [{key: key-of-user-%d-%d}]}\n", i, i, number*(i%3), i, number*(i%2))
	}
	return f.String()
}

// openedVersion is what the local store held when the data plane opened it, before any control plane was asked.
var openedVersion = regexp.MustCompile(`msg="serving from the local store" version=(\d+)`)

// acked is the newest version that the control plane knows the data plane to hold.
func acked(t *testing.T, cp *harness.ControlPlane) int {
	t.Helper()
	nodes, err := cp.Admin().DataPlanes()
	if err != nil || len(nodes) != 1 {
		t.Fatalf("%d data planes, %v", len(nodes), err)
	}
	version, _ := nodes[0]["config_version"].(float64)
	return int(version)
}

// The data plane is killed at any moment while 200 configurations arrive. Its store always opens, and never with
// anything older than what it had acknowledged.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge-1", cp)
	dp.Launch()
	cp.Admin().Push(probeFile(0))
	dp.Await(200, "/probe")

	const pushes, kills = 200, 25
	var pushed atomic.Int32
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 1; ; i++ {
			select {
			case <-stop:
				if i > pushes {
					return
				}
			default:
			}
			answer, err := cp.Admin().TryPush(probeFile(i))
			if err != nil || answer.Status != 201 {
				t.Errorf("push %d: %d, %v", i, answer.Status, err)
				return
			}
			pushed.Store(int32(i))
		}
	}()
	for range kills {
		time.Sleep(rand.N(150 * time.Millisecond))
		least := acked(t, cp)
		dp.Kill()
		before := len(dp.Log())
		dp.Start() // ready comes from the store alone: it has held something since the first push
		opened := openedVersion.FindStringSubmatch(dp.Log()[before:])
		if opened == nil {
			t.Fatalf("after a kill the store did not open:\n%s", dp.Log()[before:])
		}
		if version, err := strconv.Atoi(opened[1]); err != nil || version < least {
			t.Errorf("the store opened at version %s, after %d was acknowledged", opened[1], least)
		}
	}
	close(stop)
	<-done
	want := fmt.Sprintf("number %d", pushed.Load())
	harness.Eventually(t, want, func() string {
		if answer := dp.MustGet("/probe"); !strings.Contains(answer.Body, want) {
			return answer.Body
		}
		return ""
	})
	if strings.Contains(dp.Log(), "local store cannot be opened") {
		t.Error("the store was set aside")
	}
	t.Logf("%d pushes, %d kills", pushed.Load(), kills)
}

// A flipped byte anywhere in the store is found: the data plane serves what it held, or an older whole version, or
// asks the control plane, and never anything else.
func TestFlippedByte(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge-1", cp)
	cp.Admin().Push(probeFile(0)) // so that the oldest version that the data plane ever holds answers, too
	harness.Eventually(t, "the push on offer", func() string {
		newest, _ := cp.Admin().Do(http.StatusOK, http.MethodGet, "/clustering/data-planes", nil)["newest"].(map[string]any)
		if version, _ := newest["version"].(float64); version < 3 { // 2 is what every new database begins with
			return fmt.Sprint(newest)
		}
		return ""
	})
	dp.Launch()
	const last = 6
	for i := range last + 1 {
		cp.Admin().Push(probeFile(i))
		harness.Eventually(t, "the push", func() string {
			if answer, err := harness.Get("http://" + dp.Proxy + "/probe"); err != nil || !strings.Contains(answer.Body, fmt.Sprintf("number %d", i)) {
				return fmt.Sprint(answer.Body, err)
			}
			return ""
		})
	}
	dp.Stop()
	cp.Kill()
	whole := readStore(t, dp.Store())
	if len(whole) < 2 {
		t.Fatalf("the store has %d files", len(whole))
	}
	damaged := 0
	for name, data := range whole {
		for _, at := range []int{0, len(data) / 3, rand.IntN(len(data)), len(data) - 1} {
			writeStore(t, dp.Store(), whole)
			flipped := append([]byte(nil), data...)
			flipped[at] ^= 1 << rand.IntN(8)
			if err := os.WriteFile(filepath.Join(dp.Store(), name), flipped, 0o600); err != nil {
				t.Fatal(err)
			}
			if servesAfterDamage(t, dp, fmt.Sprintf("%s byte %d of %d", name, at, len(data)), last) {
				damaged++
			}
		}
	}
	if damaged == 0 {
		t.Error("no flipped byte was ever found")
	}
	// With these files damaged and the control plane back, the data plane is given what it lacks, at once or, where
	// it could serve an older version meanwhile, as soon as it is linked.
	for name, data := range whole {
		flipped := append([]byte(nil), data...)
		for at := 0; at < len(flipped); at += 64 {
			flipped[at] ^= 0x10
		}
		if err := os.WriteFile(filepath.Join(dp.Store(), name), flipped, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cp.Start()
	dp.Start()
	harness.Eventually(t, "the newest version", func() string {
		if answer := dp.MustGet("/probe"); !strings.Contains(answer.Body, fmt.Sprintf("number %d", last)) {
			return fmt.Sprint(answer.Status, answer.Body)
		}
		return ""
	})
}

// servesAfterDamage starts a data plane without a control plane on a damaged store, and reports whether the damage
// was noticed.
func servesAfterDamage(t *testing.T, dp *harness.DataPlane, what string, last int) (noticed bool) {
	t.Helper()
	before := len(dp.Log())
	dp.Launch()
	defer dp.Kill()
	dp.AwaitLogSince(before, `msg="serving clients"`)
	log := dp.Log()[before:]
	noticed = strings.Contains(log, "local store is damaged") || strings.Contains(log, "local store dropped an unfinished append")
	answer := dp.MustGet("/probe")
	serves := -1
	for i := range last + 1 {
		if strings.Contains(answer.Body, fmt.Sprintf(`"number %d"`, i)) {
			serves = i
		}
	}
	switch {
	case answer.Status == 200 && serves == last:
	case answer.Status == 200 && serves >= 0 && noticed: // an older whole version, and it says so
	case answer.Status != 200 && strings.Contains(log, "local store cannot be opened"): // nothing, and it says so
	default:
		t.Errorf("%s: %d %s, noticed: %v\n%s", what, answer.Status, answer.Body, noticed, log)
	}
	return noticed
}

func readStore(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 0 { // the lock has none
			files[entry.Name()] = data
		}
	}
	return files
}

// writeStore makes the folder hold exactly these files.
func writeStore(t *testing.T, folder string, files map[string][]byte) {
	t.Helper()
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
