package bus_test

import (
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

// knows replaces the users of a server, which ends the connections of those that are gone.
func (n *external) knows(t *testing.T, users ...string) {
	t.Helper()
	options := *n.options
	options.Nkeys = nil
	for _, user := range users {
		options.Nkeys = append(options.Nkeys, &server.NkeyUser{Nkey: user})
	}
	if err := n.ReloadOptions(&options); err != nil {
		t.Fatal(err)
	}
}

// TestSeedIsReadAnew: a seed is replaced like credentials are, although its user is named apart from the signature.
func TestSeedIsReadAnew(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	path, old := seed(t)
	next, user := seed(t)
	other, steadyUser := seed(t)
	theirs := startNATS(t, natsOptions(t, ca, old, steadyUser))
	n, steady := client(t, ca, "cp-1", path, theirs.url()), client(t, ca, "steady", other, theirs.url())
	hears(t, n, steady)

	theirs.knows(t, user, steadyUser)
	await(t, "the refusal is told", func() bool { return strings.Contains(n.Status().Problem, "does not know user "+old) })
	says(t, n.Status().Problem, "nats_nkey_file: ", "add this user to the server's authorization")
	write(t, path, nil, 0o600)
	await(t, "the lack of a seed is told", func() bool { return strings.Contains(n.Status().Problem, "holds no nkey seed") })
	says(t, n.Status().Problem, "nats_nkey_file: "+path, "nk -gen user")
	write(t, path, read(t, next), 0o644)
	await(t, "the open file is told", func() bool { return strings.Contains(n.Status().Problem, "chmod 600 "+path) })
	write(t, path, read(t, next), 0o600)
	hears(t, n, steady)
	hears(t, steady, n)
	says(t, n.log.String(), "nats_nkey_file: ")
	if strings.Contains(n.log.String(), "was replaced") {
		t.Errorf("what passes by itself is told: %s", n.log)
	}
	if !steady.Connected() || strings.Contains(steady.log.String(), "no connection") {
		t.Errorf("the node whose user stayed was disturbed: %s", steady.log)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRefusalAfterAnAbsence: a server that was away when the node started refuses it when it comes.
func TestRefusalAfterAnAbsence(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	path, user := seed(t)
	_, other := seed(t)
	theirs := startNATS(t, natsOptions(t, ca, other))
	theirs.Shutdown()
	theirs.WaitForShutdown()
	n := client(t, ca, "cp-1", path, theirs.url())
	await(t, "that NATS is away is told", func() bool { return strings.Contains(n.Status().Problem, "no server of nats_url answers") })
	startNATS(t, theirs.options)
	await(t, "the refusal is told", func() bool { return strings.Contains(n.Status().Problem, "does not know user "+user) })
	await(t, "the refusal is logged", func() bool {
		return strings.Contains(n.log.String(), "nats_nkey_file: the server does not know user "+user)
	})
	says(t, n.log.String(), "nats_nkey_file: ")
}
