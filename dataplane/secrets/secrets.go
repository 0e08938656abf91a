// Package secrets finds what {vault://…} references lead to on this node: in environment variables, in files, in HashiCorp Vault
// and OpenBao. Another place joins as one more [secretbackend.Backend].
//
// Nobody waits for a vault but [Secrets.Settle], which has a bounded time for all that a compilation needs. What is known is in memory,
// as long as the configuration refers to it, and nowhere else: after a restart it is asked for again. [Secrets.Run] asks again when
// values get old, and [Secrets.Changed] tells that something leads elsewhere than it did, so that the table is compiled anew.
//
// # Times
//
// A value is asked for again after its vault's ttl. When the vault has no such secret any more the value is dropped, and asked for
// again after neg_ttl. While the vault cannot be asked, or denies it, the value goes on being used, for resurrect_ttl beyond its ttl;
// meanwhile one question at a time is put to that vault, at growing intervals.
//
// # No confused deputy
//
// Whoever configures a workspace must not read through this node what it may not read itself:
//
//   - A reference finds the vaults of its own workspace, by their prefixes. The node's own (env, file, hcv) are for the workspace
//     default alone, whose administrators run the gateway.
//   - Variables have to begin with vault_env_prefix, and are for the workspace default. What configures this program is never given.
//   - Files have to lie below vault_file_folder; a workspace other than default has a folder of its own in it, named by its id.
//   - This node's token and service account go to the server of vault_hcv_host, and only for the workspace default. A vault
//     elsewhere brings a token of its own. Its host has to be in vault_hosts, if that names any; if it does not stand there, this
//     machine, link-local addresses and those where clouds answer with credentials are not connected to.
//   - A token that is a reference leads to variables or files, by the same rules.
//   - What this node's own settings refer to, and the files that they name, are nobody else's: see [Own].
//   - With this node's token nothing is read of Vault but key-value stores.
//
// Secrets, their names and what servers say stand in no error that leaves this package.
package secrets

import (
	"context"
	"crypto/x509"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretbackend"
)

// home is the workspace of those who run the gateway.
const home = "default"

// Options is where this node's own vaults are, and what those of the configuration may do.
type Options struct {
	EnvPrefix string                      // "": no variable can be referred to
	Environ   func(string) (string, bool) // default os.LookupEnv
	Folder    string                      // "": no file can be referred to
	Own       Own
	TTL       time.Duration // of variables and files; default 5 s
	HCV       HCV
	Negative  time.Duration  // neg_ttl of HashiCorp Vault
	Resurrect time.Duration  // resurrect_ttl; 0: for ever
	Hosts     []string       // where vaults of the configuration may be: names, or *.name
	Roots     *x509.CertPool // authorities of servers; nil: the system's
	Patience  time.Duration  // how long a compilation waits; default 2 s
	Log       *slog.Logger   // default: discard
}

// HCV is this node's HashiCorp Vault or OpenBao. Without a host it has none.
type HCV struct {
	Protocol, Host         string
	Port                   int
	Namespace, Mount, KV   string
	AuthMethod             string
	Token                  secret.Bytes
	TokenFile              string // unless "", read for each login instead of Token
	KubeRole, KubeAuthPath string
	KubeTokenFile          string
	TTL                    time.Duration
}

// Secrets is what references lead to. It is safe for concurrent use; Begin to End are for one caller at a time.
type Secrets struct {
	options  Options
	own      *ownFiles
	changed  chan struct{}
	wake     chan struct{}
	progress chan struct{}                                     // for Settle
	opener   func(place, spec) (secretbackend.Backend, string) // open, but in tests
	base     context.Context
	cancel   context.CancelFunc
	fetching sync.WaitGroup

	mu        sync.Mutex // guards all below
	vaults    map[place]*vault
	documents map[key]*document
	round     uint64 // of compilations
	compiling bool
	until     time.Time // Settle waits no longer
	inFlight  int
	asking    map[string]int // of them, by workspace
	over      bool           // all is forgotten
	stopped   bool           // nobody is asked any more
}

// New makes Secrets and starts nothing.
func New(options Options) *Secrets {
	if options.Environ == nil {
		options.Environ = os.LookupEnv
	}
	if options.TTL <= 0 {
		options.TTL = 5 * time.Second
	}
	if options.Patience <= 0 {
		options.Patience = 2 * time.Second
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	s := &Secrets{
		options: options, own: options.Own.below(options.Folder), changed: make(chan struct{}, 1), wake: make(chan struct{}, 1), progress: make(chan struct{}, 1),
		vaults: map[place]*vault{}, documents: map[key]*document{}, asking: map[string]int{},
	}
	s.opener = s.open
	s.base, s.cancel = context.WithCancel(context.Background())
	return s
}

// Changed receives when something that the last compilation used leads elsewhere, or nowhere, or somewhere at last.
func (s *Secrets) Changed() <-chan struct{} { return s.changed }

// Forget wipes what is known, for good.
func (s *Secrets) Forget() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for _, d := range s.documents {
		d.drop()
	}
	clear(s.documents)
	for at, v := range s.vaults {
		s.close(v)
		delete(s.vaults, at)
	}
}

// close ends a vault that is not asked any more; a login of its own ends with it.
func (s *Secrets) close(v *vault) {
	if v.backend != nil && !s.stopped {
		s.fetching.Go(v.backend.Close)
	}
}

func tell(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}
