package keyring_test

import (
	"bytes"
	"errors"
	"strings"
	"sync"

	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
)

// signer proves by name, and believes names. What a revoked one has proven counts no more; what an
// expired one has proven is to be made anew.
type signer struct {
	name    string
	mu      *sync.Mutex
	revoked map[string]bool // guarded by mu
	expired map[string]bool // guarded by mu
	changed chan struct{}   // guarded by mu; nil: nobody is told
}

// signers make provers that believe each other.
func signers(list ...string) []*signer {
	var all []*signer
	mu, revoked, expired := &sync.Mutex{}, map[string]bool{}, map[string]bool{}
	for _, name := range list {
		all = append(all, &signer{name: name, mu: mu, revoked: revoked, expired: expired})
	}
	return all
}

func (s *signer) mark(set map[string]bool, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set[name] = true
}

// Changed implements keyring.Judge.
func (s *signer) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// tell makes s judge anew.
func (s *signer) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *signer) Prove(about string, message []byte) ([]byte, error) {
	proof, err := keyringtest.Prover(s.name).Prove(about, message)
	return append([]byte(s.name+":"), proof...), err
}

func (s *signer) Check(about string, message, proof []byte) error {
	name, sum, ok := bytes.Cut(proof, []byte(":"))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !ok || !strings.HasPrefix(string(name), "node "):
		return errors.New("of no control plane")
	case s.revoked[string(name)]:
		return errors.New("the certificate is revoked")
	}
	return keyringtest.Prover(name).Check(about, message, sum)
}

func (s *signer) Stale(_ string, _, proof []byte) bool {
	name, _, _ := bytes.Cut(proof, []byte(":"))
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expired[string(name)]
}
