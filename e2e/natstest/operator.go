package natstest

import (
	"sync"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/keepgate/keepgate/e2e/harness"
)

// Operator is a NATS server in operator mode: its users log in with credentials, of one account that it holds in memory.
type Operator struct {
	*Server
	account nkeys.KeyPair
	signer  nkeys.KeyPair // the operator's

	mu     sync.Mutex
	claims *jwt.AccountClaims // guarded by mu
}

// User is somebody of an Operator's account.
type User struct {
	ID    string // public key
	Token string // JWT
	Seed  string
	Creds []byte // what nsc writes into a .creds file
}

// StartOperator runs a server on a free loopback port until the test ends.
func StartOperator(t harness.T) *Operator {
	t.Helper()
	o := &Operator{account: pair(t, nkeys.CreateAccount), signer: pair(t, nkeys.CreateOperator)}
	o.claims = jwt.NewAccountClaims(public(t, o.account))
	token, err := o.claims.Encode(o.signer)
	if err != nil {
		t.Fatalf("signing an account: %v", err)
	}
	accounts := &server.MemAccResolver{}
	if err := accounts.Store(o.claims.Subject, token); err != nil {
		t.Fatalf("storing an account: %v", err)
	}
	operator := jwt.NewOperatorClaims(public(t, o.signer))
	if _, err := operator.Encode(o.signer); err != nil {
		t.Fatalf("signing an operator: %v", err)
	}
	o.Server = run(t, &server.Options{TrustedOperators: []*jwt.OperatorClaims{operator}, AccountResolver: accounts})
	return o
}

// User makes a user; edit, which may be nil, changes what its JWT says.
func (o *Operator) User(edit func(*jwt.UserClaims)) User {
	o.t.Helper()
	keys := pair(o.t, nkeys.CreateUser)
	claims := jwt.NewUserClaims(public(o.t, keys))
	if edit != nil {
		edit(claims)
	}
	u := User{ID: claims.Subject}
	seed, err := keys.Seed()
	if err == nil {
		u.Token, err = claims.Encode(o.account)
	}
	if err == nil {
		u.Creds, err = jwt.FormatUserConfig(u.Token, seed)
	}
	if err != nil {
		o.t.Fatalf("making credentials: %v", err)
	}
	u.Seed = string(seed)
	return u
}

// Account is the JWT of the account itself.
func (o *Operator) Account() string {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	token, err := o.claims.Encode(o.signer)
	if err != nil {
		o.t.Fatalf("signing an account: %v", err)
	}
	return token
}

// Revoke puts a user out, connections and all.
func (o *Operator) Revoke(u User) {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.claims.Revoke(u.ID)
	account, err := o.server.LookupAccount(o.claims.Subject)
	if err != nil {
		o.t.Fatalf("looking up an account: %v", err)
	}
	token, err := o.claims.Encode(o.signer)
	if err != nil {
		o.t.Fatalf("signing an account: %v", err)
	}
	claims, err := jwt.DecodeAccountClaims(token) // a copy, which the server keeps
	if err != nil {
		o.t.Fatalf("reading an account: %v", err)
	}
	o.server.UpdateAccountClaims(account, claims)
}

func pair(t harness.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	keys, err := create()
	if err != nil {
		t.Fatalf("making a key pair: %v", err)
	}
	return keys
}

func public(t harness.T, keys nkeys.KeyPair) string {
	t.Helper()
	key, err := keys.PublicKey()
	if err != nil {
		t.Fatalf("reading a key pair: %v", err)
	}
	return key
}
