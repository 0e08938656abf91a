package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// With one of two keys missing everything else goes on: lists serve the rest and name what they lack, each answer comes
// at once and names the key, data planes keep what they had of it and get what is new, and with the key all is whole.
// The index key, without which credentials are neither found nor made, opens where the newer key became active while
// the older one was held.
func TestOneOfTwoKeysIsMissing(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) database{"sqlite": sqliteDatabase, "postgres": postgresDatabase} {
		for how, arrange := range map[string]func(*missing){"another recovery key": (*missing).byRecovery, "raw keys": (*missing).byHand} {
			t.Run(name+" with "+how, func(t *testing.T) {
				t.Parallel()
				m := &missing{t: t, Cluster: harness.New(t), db: open(t)}
				m.cp = m.ControlPlane("cp", append(m.db.flags, "--keyring-strategy", "cluster")...)
				arrange(m)
				m.lists()
				m.rows()
				m.gates()
				m.whole()
				m.NoSecretInLogs("canary-of-the-older-key", "canary-to-be-deleted", "canary-to-be-put", "canary-of-a-put", "canary-of-a-post", "canary-after-all")
			})
		}
	}
}

// missing is a control plane that lacks the older one of its keys.
type missing struct {
	*harness.Cluster
	t                  *testing.T
	db                 database
	cp                 *harness.ControlPlane
	dp                 *harness.DataPlane
	older, newer       string // ids of keys
	kept, deleted, put string // paths of credentials under the older key
	oldCert, newCert   string // paths of certificates
	pair               pair   // of the older one
	indexed            bool   // the index key opens
	bringOlder         func() // brings the older key back
	bringBoth          func() // after all was lost
}

func (m *missing) made(path string, document harness.Document) (id string) {
	m.t.Helper()
	id, _ = m.cp.Admin().Do(201, http.MethodPost, path, document)["id"].(string)
	return id
}

func (m *missing) recover(private string) harness.Document {
	m.t.Helper()
	return curl(m.t, m.cp, "curl -s -X POST localhost:8001/keyring/recover -F recovery_private_key=@"+private)
}

// holds: the node holds these keys and says so.
func (m *missing) holds(state string, ids ...string) {
	m.t.Helper()
	held, active, is := ring(m.t, m.cp)
	slices.Sort(held)
	if slices.Sort(ids); !slices.Equal(held, ids) || is != state || len(ids) > 0 && active != m.newer {
		m.t.Errorf("it holds %v, active %q, is %s; want %v and %s", held, active, is, ids, state)
	}
}

// byRecovery makes a key that is kept for an older recovery key alone, and one for a newer.
func (m *missing) byRecovery() {
	m.t.Helper()
	oldPrivate, oldPublic := recoveryPair(m.t)
	private, public := recoveryPair(m.t)
	m.cp.Env = []string{"KEEPGATE_KEYRING_RECOVERY_PUBLIC_KEY=" + oldPublic}
	m.cp.Start()
	_, m.older, _ = ring(m.t, m.cp)
	m.beforeTheLoss()
	m.cp.Kill()
	m.cp.Env = []string{"KEEPGATE_KEYRING_RECOVERY_PUBLIC_KEY=" + public}
	m.cp.Start()
	m.newer = m.made("/keyring/generate?reveal=0", harness.Document{})
	m.cp.Admin().Form(204, http.MethodPost, "/keyring/activate", url.Values{"key": {m.newer}})
	m.newCertificate()
	m.cp.Kill()
	m.cp.Start()
	m.holds("missing")
	recovered := m.recover(private)
	reasons, _ := recovered["reasons"].(harness.Document)
	reason, _ := reasons[m.older].(string)
	if !slices.Equal(words(recovered["recovered"]), []string{m.newer}) || !slices.Equal(words(recovered["not_recovered"]), []string{m.older}) ||
		!strings.Contains(reason, "another recovery key") || recovered["active"] != m.newer {
		m.t.Errorf("with the newer private key: %v", recovered)
	}
	m.cp.AwaitLog("another recovery key")
	m.holds("incomplete", m.newer)
	m.bringOlder = func() {
		if recovered := m.recover(oldPrivate); !slices.Equal(words(recovered["recovered"]), []string{m.older}) {
			m.t.Errorf("with the older private key: %v", recovered)
		}
	}
	m.bringBoth = func() { // the older key is kept for the newer recovery key too, since it was held under that setting
		if recovered := m.recover(private); len(words(recovered["recovered"])) != 2 {
			m.t.Errorf("with the newer private key, in the end: %v", recovered)
		}
	}
}

// byHand makes keys of which only the operator keeps copies. The very first one, which is shown to nobody, is removed.
func (m *missing) byHand() {
	m.t.Helper()
	m.indexed = true
	m.cp.Start()
	admin, materials := m.cp.Admin(), map[string]string{}
	_, first, _ := ring(m.t, m.cp)
	generate := func() (id string) {
		made := admin.Do(201, http.MethodPost, "/keyring/generate", nil)
		id, _ = made["id"].(string)
		materials[id], _ = made["key"].(string)
		admin.Form(204, http.MethodPost, "/keyring/activate", url.Values{"key": {id}})
		return id
	}
	bring := func(id string) {
		m.t.Helper()
		admin.Form(201, http.MethodPost, "/keyring/import/raw", url.Values{"id": {id}, "data": {materials[id]}})
	}
	m.older = generate()
	admin.Form(204, http.MethodPost, "/keyring/remove", url.Values{"key": {first}})
	m.beforeTheLoss()
	m.newer = generate()
	m.newCertificate()
	harness.Eventually(m.t, "the environment's key being sealed anew", func() string { // else new credentials wait for the older key
		if sealed := m.db.column(m.t, m.cp, "select fingerprint_key from environments"); !strings.HasPrefix(sealed[0], "$ke$1$-"+m.newer+"-") {
			return fmt.Sprintf("%.16q", sealed[0])
		}
		return ""
	})
	m.cp.Kill()
	m.cp.Start()
	m.holds("missing")
	bring(m.newer)
	m.holds("incomplete", m.newer)
	m.bringOlder, m.bringBoth = func() { bring(m.older) }, func() { bring(m.older); bring(m.newer) }
}

// beforeTheLoss makes rows under the older key.
func (m *missing) beforeTheLoss() {
	m.t.Helper()
	m.dp = m.DataPlane("edge-1", m.cp)
	m.dp.Launch()
	upstream := harness.NewUpstream(m.t)
	m.cp.Admin().Push(fmt.Sprintf("_format_version: '3.0'\nservices:\n- {name: s, url: '%s', routes: [{name: r, paths: [/keyed]}], "+
		"plugins: [{name: key-auth}]}\nconsumers: [{username: bob}]\n", upstream.URL))
	credential := func(key string) (path string) {
		path = "/consumers/bob/key-auth/" + m.made("/consumers/bob/key-auth", harness.Document{"key": key})
		m.dp.Await(200, "/keyed", "apikey", key)
		return path
	}
	m.kept, m.deleted, m.put = credential("canary-of-the-older-key"), credential("canary-to-be-deleted"), credential("canary-to-be-put")
	m.pair = newPair(m.t, "old.example")
	m.oldCert = "/certificates/" + m.made("/certificates", harness.Document{"cert": m.pair.cert, "key": m.pair.key})
}

func (m *missing) newCertificate() {
	m.t.Helper()
	newer := newPair(m.t, "new.example")
	m.newCert = "/certificates/" + m.made("/certificates", harness.Document{"cert": newer.cert, "key": newer.key})
}

// lists serve what opens, and name the rest.
func (m *missing) lists() {
	m.t.Helper()
	for path, want := range map[string]struct{ served, named []string }{
		"/certificates":           {[]string{m.newCert}, []string{m.oldCert}},
		"/consumers/bob/key-auth": {nil, []string{m.kept, m.deleted, m.put}},
		"/key-auths":              {nil, []string{m.kept, m.deleted, m.put}},
		"/consumers":              {[]string{"/bob"}, nil},
	} {
		page := m.cp.Admin().Do(200, http.MethodGet, path, nil)
		data, _ := page["data"].([]any)
		unreadable, _ := page["undecryptable"].([]any)
		if len(data) != len(want.served) || len(unreadable) != len(want.named) {
			m.t.Errorf("GET %s serves %d rows and names %d", path, len(data), len(unreadable))
		}
		for _, row := range unreadable {
			named := row.(harness.Document)
			if named["key_id"] != m.older || !slices.ContainsFunc(want.named, func(path string) bool { return strings.HasSuffix(path, "/"+named["id"].(string)) }) {
				m.t.Errorf("GET %s names %v", path, named)
			}
		}
	}
	if answer, err := m.cp.Admin().Try(http.MethodGet, "/certificates?undecryptable=refuse", nil); err != nil || answer.Status != 503 || !strings.Contains(answer.Body, m.older) {
		m.t.Errorf("a list that may lack nothing: %d %s %v", answer.Status, answer.Body, err)
	}
}

// rows that do not open answer at once, with the key's id; they can be written as a whole where nothing of the old is
// needed, and deleted.
func (m *missing) rows() {
	m.t.Helper()
	admin := m.cp.Admin()
	type call struct {
		method, path string
		body         any
	}
	put := call{http.MethodPut, m.put, harness.Document{"key": "canary-of-a-put"}}
	post := call{http.MethodPost, "/consumers/bob/key-auth", harness.Document{"key": "canary-of-a-post"}}
	refused := map[string]call{
		"reading a certificate":  {http.MethodGet, m.oldCert, nil},
		"changing a certificate": {http.MethodPatch, m.oldCert, harness.Document{"tags": []string{"x"}}},
		"reading a credential":   {http.MethodGet, m.kept, nil},
		"changing a credential":  {http.MethodPatch, m.kept, harness.Document{"tags": []string{"x"}}},
	}
	if !m.indexed {
		refused["putting a credential"], refused["making a credential"] = put, post
	}
	for what, c := range refused {
		m.refusedAtOnce(what, c.method, c.path, c.body)
	}
	if m.indexed {
		admin.Do(200, put.method, put.path, put.body)
		admin.Do(201, post.method, post.path, post.body)
		answers(m.t, m.cp, "canary-of-a-put", "canary-of-a-post")
	}
	admin.Do(204, http.MethodDelete, m.deleted, nil)
	if read := admin.Do(200, http.MethodGet, m.newCert, nil); !strings.Contains(read["key"].(string), "PRIVATE KEY") {
		m.t.Error("the newer certificate does not read")
	}
}

// refusedAtOnce: 503 within 100 ms, naming the older key.
func (m *missing) refusedAtOnce(what, method, path string, body any) {
	m.t.Helper()
	quickest := time.Hour // of a few, and of more where the machine is busy
	for tries := 0; tries < 3 || tries < 100 && quickest > 100*time.Millisecond; tries++ {
		begun := time.Now()
		answer, err := m.cp.Admin().Try(method, path, body)
		quickest = min(quickest, time.Since(begun))
		if err != nil || answer.Status != 503 || !strings.Contains(answer.Body, `"key_id":"`+m.older+`"`) || !strings.Contains(answer.Body, "key unavailable") {
			m.t.Fatalf("%s: %d %s %v, want 503 naming key %s", what, answer.Status, answer.Body, err, m.older)
		}
	}
	if quickest > 100*time.Millisecond {
		m.t.Errorf("%s is refused after %v", what, quickest)
	}
}

// gates keep the credential that the control plane cannot read, lose the one that was deleted, and get what is new.
func (m *missing) gates() {
	m.t.Helper()
	admin := m.cp.Admin()
	m.made("/services/s/routes", harness.Document{"name": "fresh", "paths": []string{"/fresh"}})
	m.dp.Await(200, "/fresh", "apikey", "canary-of-the-older-key")
	m.dp.Await(401, "/keyed", "apikey", "canary-to-be-deleted")
	if answer := m.dp.MustGet("/keyed", "apikey", "canary-of-the-older-key"); answer.Status != 200 {
		m.t.Errorf("the credential that cannot be read: %d", answer.Status)
	}
	if m.indexed {
		m.dp.Await(200, "/keyed", "apikey", "canary-of-a-put")
		m.dp.Await(200, "/keyed", "apikey", "canary-of-a-post")
		m.dp.Await(401, "/keyed", "apikey", "canary-to-be-put")
	}
	status, err := harness.Get("http://" + m.cp.Status + "/status")
	if err != nil || !strings.Contains(status.Body, m.older) {
		m.t.Errorf("the status port does not name the missing key: %s %v", status.Body, err)
	}
	if put := admin.Do(200, http.MethodPut, m.oldCert, harness.Document{"cert": m.pair.cert, "key": m.pair.key}); put["id"] == nil {
		m.t.Errorf("a certificate written as a whole: %v", put["id"])
	}
	if page := admin.Do(200, http.MethodGet, "/certificates", nil); len(page["data"].([]any)) != 2 || page["undecryptable"] != nil {
		m.t.Errorf("after it was written as a whole: %v", page["undecryptable"])
	}
}

// whole: the older key comes back, and later both.
func (m *missing) whole() {
	m.t.Helper()
	admin := m.cp.Admin()
	m.bringOlder()
	m.holds("ready", m.older, m.newer)
	answers(m.t, m.cp, "canary-of-the-older-key")
	rows := map[bool]int{false: 2, true: 3}[m.indexed]
	if page := admin.Do(200, http.MethodGet, "/key-auths", nil); len(page["data"].([]any)) != rows || page["undecryptable"] != nil {
		m.t.Errorf("with all keys a list serves %d rows, and lacks %v", len(page["data"].([]any)), page["undecryptable"])
	}
	m.made("/consumers/bob/key-auth", harness.Document{"key": "canary-after-all"})
	m.dp.Await(200, "/keyed", "apikey", "canary-after-all")
	m.dp.Await(200, "/keyed", "apikey", "canary-of-the-older-key")

	m.cp.Kill()
	m.cp.Start()
	m.bringBoth()
	m.holds("ready", m.older, m.newer)
	answers(m.t, m.cp, "canary-of-the-older-key", "canary-after-all")
}
