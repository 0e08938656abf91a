package bus_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/peer/bus"
	"github.com/keepgate/keepgate/e2e/natstest"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

// credentials are what stands in a .creds file.
func credentials(token, seed string) []byte {
	return []byte("-----BEGIN NATS USER JWT-----\n" + token + "\n------END NATS USER JWT------\n\n" +
		"-----BEGIN USER NKEY SEED-----\n" + seed + "\n------END USER NKEY SEED------\n")
}

// write replaces a file as a whole, as those do who replace one that is in use.
func write(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	fresh := path + ".new"
	if err := errors.Join(os.WriteFile(fresh, data, 0o600), os.Chmod(fresh, mode), os.Rename(fresh, path)); err != nil {
		t.Fatal(err)
	}
}

// holder is a node that logs in with a .creds file.
func holder(t *testing.T, ca *mtlstest.CA, name, creds string, server *natstest.Operator) *node {
	t.Helper()
	source, files, _ := ca.Source(t, leaf(name))
	n := &node{source: source, files: files, log: &journal{}}
	b, err := bus.Open(t.Context(), bus.Config{
		Cluster: cluster, Node: name, Log: n.log.logger(), URLs: []string{"nats://" + server.Address}, CredentialsFile: creds,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.run(t, b)
	return n
}

func file(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "$node.creds") // a name that nobody expands
	write(t, path, data, 0o600)
	return path
}

// says wants all of the words in a text, and no seed.
func says(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("no %q in: %s", word, text)
		}
	}
	if at := strings.Index(text, "SU"); at >= 0 && len(text) > at+58 && !strings.ContainsAny(text[at:at+58], " :/\n") {
		t.Error("a seed is shown")
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	ca, server := mtlstest.NewCA(t, "cluster"), natstest.StartOperator(t)
	one := holder(t, ca, "cp-1", file(t, server.User(nil).Creds), server)
	two := holder(t, ca, "cp-2", file(t, server.User(nil).Creds), server)
	hears(t, one, two)
	hears(t, two, one)
}

// brokenCredentials are files that no server would take, and what is said of each.
func brokenCredentials(t *testing.T, server *natstest.Operator) map[string]struct {
	data  []byte
	mode  os.FileMode
	words []string
} {
	t.Helper()
	mine, other := server.User(nil), server.User(nil)
	const mend = "nsc generate creds"
	return map[string]struct {
		data  []byte
		mode  os.FileMode
		words []string
	}{
		"another's seed":   {credentials(mine.Token, other.Seed), 0o600, []string{"the JWT of user " + mine.ID, "seed of another, " + other.ID, mend}},
		"a damaged seed":   {credentials(mine.Token, mine.Seed[:50]+"AAAAAAAA"), 0o600, []string{"no nkey seed", mend}},
		"no seed":          {[]byte(mine.Token), 0o600, []string{"no nkey seed", mend}},
		"a seed alone":     {[]byte(mine.Seed), 0o600, []string{"no JWT", mend}},
		"a damaged JWT":    {credentials(mine.Token[:len(mine.Token)-8]+"AAAAAAAA", mine.Seed), 0o600, []string{"JWT that is damaged", mend}},
		"an account's JWT": {credentials(server.Account(), mine.Seed), 0o600, []string{"not of a user", mend}},
		"readable by all":  {mine.Creds, 0o604, []string{"open to others (mode 0604)", "chmod 600 "}},
		"nothing":          {nil, 0o600, []string{"no JWT", mend}},
		"too much":         {make([]byte, 1<<20), 0o600, []string{"larger than", "nats_credentials_file"}},
	}
}

// TestOpenRefusesCredentials that can never work.
func TestOpenRefusesCredentials(t *testing.T) {
	t.Parallel()
	server := natstest.StartOperator(t)
	for name, test := range brokenCredentials(t, server) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := file(t, nil)
			write(t, path, test.data, test.mode)
			config := bus.Config{URLs: []string{"nats://" + server.Address}, CredentialsFile: path}
			b, err := bus.Open(t.Context(), config)
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("Open = %v", err)
			}
			if b != nil {
				b.Close()
			}
			says(t, err.Error(), append(test.words, "nats_credentials_file: "+path)...)
			findings := bus.Examine(t.Context(), config)
			oneWrong(t, findings, "credentials", test.words[len(test.words)-1])
			for _, one := range findings {
				says(t, one.Fact+one.Mend)
			}
		})
	}
}

// refusedCredentials are such as look right here, and what is said of them when the server refuses them.
func refusedCredentials(t *testing.T, server *natstest.Operator) map[string]struct {
	user  natstest.User
	step  string
	words []string
} {
	t.Helper()
	revoked, stranger := server.User(nil), natstest.StartOperator(t).User(nil)
	server.Revoke(revoked)
	day := func(n int) int64 { return time.Now().AddDate(0, 0, n).Unix() }
	expired := server.User(func(c *jwt.UserClaims) { c.Expires = day(-1) })
	early := server.User(func(c *jwt.UserClaims) { c.NotBefore = day(2) })
	return map[string]struct {
		user  natstest.User
		step  string
		words []string
	}{
		"expired":          {expired, "credentials", []string{"the JWT of user " + expired.ID + " ended ", "nsc generate creds"}},
		"not yet valid":    {early, "credentials", []string{"the JWT of user " + early.ID + " begins ", "set the clock"}},
		"revoked":          {revoked, "login", []string{"does not let user " + revoked.ID + " in: it was revoked", "nsc generate creds"}},
		"of other servers": {stranger, "login", []string{"does not let user " + stranger.ID + " in", "does not know its account", "nsc push"}},
	}
}

func TestRefusedCredentialsAreNamed(t *testing.T) {
	t.Parallel()
	ca, server := mtlstest.NewCA(t, "cluster"), natstest.StartOperator(t)
	for name, test := range refusedCredentials(t, server) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := file(t, test.user.Creds)
			n := holder(t, ca, "cp-1", path, server)
			await(t, "the reason is told", func() bool { return strings.Contains(n.Status().Problem, "nats_credentials_file") })
			says(t, n.Status().Problem, test.words...)
			await(t, "the reason is logged", func() bool { return strings.Contains(n.log.String(), test.words[0]) })
			says(t, n.log.String(), test.words...)
			if n.Connected() {
				t.Error("connected")
			}
			findings := bus.Examine(t.Context(), bus.Config{URLs: []string{"nats://" + server.Address}, CredentialsFile: path})
			oneWrong(t, findings, test.step, test.words[len(test.words)-1])
			write(t, path, server.User(nil).Creds, 0o600)
			await(t, "the node is let in with new credentials", n.Connected)
			await(t, "nothing is wrong any more", func() bool { return n.Status().Problem == "" })
		})
	}
}

// TestCredentialsAreReadAnew: a node whose user is put out while it is connected says what stands in the way, and comes back
// as soon as the file holds others.
func TestCredentialsAreReadAnew(t *testing.T) {
	t.Parallel()
	ca, server := mtlstest.NewCA(t, "cluster"), natstest.StartOperator(t)
	steady := holder(t, ca, "steady", file(t, server.User(nil).Creds), server)
	for name, test := range brokenCredentials(t, server) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			user := server.User(nil)
			path := file(t, user.Creds)
			n := holder(t, ca, "cp-1", path, server)
			hears(t, n, steady)
			server.Revoke(user)
			await(t, "the revocation is told", func() bool { return strings.Contains(n.Status().Problem, "revoked") })
			says(t, n.Status().Problem, "nats_credentials_file: ", "user", "nsc generate creds")
			write(t, path, test.data, test.mode)
			await(t, "the new file's fault is told", func() bool { return strings.Contains(n.Status().Problem, test.words[0]) })
			says(t, n.Status().Problem, append(test.words, "nats_credentials_file: "+path)...)
			write(t, path, server.User(nil).Creds, 0o600)
			hears(t, n, steady)
			hears(t, steady, n)
			says(t, n.log.String(), test.words...)
			if strings.Contains(n.log.String(), "EOF") {
				t.Errorf("the log tells of an end that was explained: %s", n.log)
			}
		})
	}
}

// A JWT that ends while the node is connected is named like one that had ended before.
func TestCredentialsThatEnd(t *testing.T) {
	t.Parallel()
	ca, server := mtlstest.NewCA(t, "cluster"), natstest.StartOperator(t)
	user := server.User(func(c *jwt.UserClaims) { c.Expires = time.Now().Add(2 * time.Second).Unix() })
	n := holder(t, ca, "cp-1", file(t, user.Creds), server)
	await(t, "the end is told", func() bool { return strings.Contains(n.Status().Problem, "the JWT of user "+user.ID+" ended ") })
	says(t, n.Status().Problem, "nats_credentials_file", "nsc generate creds")
}

func TestExamineCredentials(t *testing.T) {
	t.Parallel()
	server := natstest.StartOperator(t)
	soon := server.User(func(c *jwt.UserClaims) { c.Expires = time.Now().AddDate(0, 0, 3).Unix() })
	later := server.User(func(c *jwt.UserClaims) { c.Expires = time.Now().AddDate(1, 0, 0).Unix() })
	mute := server.User(func(c *jwt.UserClaims) { c.Pub.Deny.Add("keepgate.>") })
	for name, test := range map[string]struct {
		user    natstest.User
		step    string
		verdict finding.Verdict
		says    string
	}{
		"without an end":   {server.User(nil), "credentials", finding.OK, "without an end"},
		"for a year":       {later, "credentials", finding.OK, "until "},
		"for three days":   {soon, "credentials", finding.Warning, "ends soon"},
		"that may not say": {mute, "login", finding.Wrong, "keepgate.doctor"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			findings := bus.Examine(t.Context(), bus.Config{URLs: []string{"nats://" + server.Address}, CredentialsFile: file(t, test.user.Creds)})
			for _, one := range findings {
				if one.Step == test.step && (one.Verdict != test.verdict || !strings.Contains(one.Fact, test.says)) {
					t.Errorf("%+v", one)
				}
			}
			if wrong := finding.Count(findings, finding.Wrong); (wrong == 1) != (test.verdict == finding.Wrong) {
				t.Errorf("%d are wrong: %+v", wrong, findings)
			}
		})
	}
}
