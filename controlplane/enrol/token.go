package enrol

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/schema"
)

const hashHex = 64

// Token is what is kept of a join token, frozen by testdata/token.golden.json. Times are Unix seconds.
type Token struct {
	ID          string `json:"id"`
	Hash        string `json:"hash"` // hex SHA-256 of its secret
	Environment string `json:"environment"`
	Name        string `json:"name,omitempty"` // "": the node says what it is called
	CreatedAt   int64  `json:"created_at"`
	CreatedBy   string `json:"created_by,omitempty"`
	ExpiresAt   int64  `json:"expires_at"`
	Used        *Use   `json:"used,omitempty"`
	WithdrawnAt int64  `json:"withdrawn_at,omitempty"`
}

// Use is what became of a token.
type Use struct {
	At       int64    `json:"at"`
	From     string   `json:"from"` // network address
	Identity string   `json:"identity"`
	Serial   string   `json:"serial"`
	Key      string   `json:"key"`   // hex SHA-256 of the public key that was certified
	Chain    [][]byte `json:"chain"` // what was answered, for the same key's asking again
}

var errToken = errors.New("what is kept of a join token is not of its form")

func (t Token) encode() (string, error) {
	text, err := json.Marshal(t)
	return string(text), err
}

func parseToken(text string) (t Token, err error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&t) != nil || decoder.InputOffset() != int64(len(text)) || t.ID == "" || len(t.Hash) != hashHex || t.ExpiresAt <= 0 {
		return Token{}, errToken
	}
	name := t.Name
	if name == "" {
		name = "any"
	}
	who := identity.Identity{Role: identity.DataPlane, Organisation: "any", Environment: t.Environment, Name: name}
	if who.Validate() != nil || t.Used != nil && (t.Used.Identity == "" || len(t.Used.Key) != hashHex || len(t.Used.Chain) == 0) {
		return Token{}, errToken
	}
	return t, nil
}

// tokenOf reads a row, which has to be the one that the token names: a document of another row does not open here.
func tokenOf(m proto.Message) (Token, error) {
	row, ok := m.(*configv1.JoinToken)
	if !ok {
		return Token{}, fault.New(fault.Internal, "enrol.read", tableTokens, errToken)
	}
	t, err := parseToken(row.GetDocument())
	if err == nil && (t.ID != row.GetId() || t.Hash != row.GetTokenHash()) {
		err = errors.New("the row of a join token was put together of two")
	}
	if err != nil {
		return Token{}, fault.New(fault.Corrupt, "enrol.read", tableTokens+"/"+row.GetId(), err)
	}
	return t, nil
}

func (t Token) doc() (schema.Document, error) {
	text, err := t.encode()
	if err != nil {
		return nil, fault.New(fault.Internal, "enrol.write", tableTokens, err)
	}
	return schema.Document{"id": t.ID, "token_hash": t.Hash, "document": text}, nil
}

// proves compares in a time that tells nothing.
func (t Token) proves(hash string) bool {
	return subtle.ConstantTimeCompare([]byte(t.Hash), []byte(hash)) == 1
}

// State is what a token is good for.
type State string

// The states of a token.
const (
	Open      State = "open"
	Used      State = "used"
	Expired   State = "expired"
	Withdrawn State = "withdrawn"
)

// State says what the token is good for now.
func (t Token) State(now time.Time) State {
	switch {
	case t.Used != nil:
		return Used
	case t.WithdrawnAt > 0:
		return Withdrawn
	case now.Unix() >= t.ExpiresAt:
		return Expired
	}
	return Open
}

// spent reports that nobody asks after it any more. A used one stays until its certificate has been renewed or expired,
// since a copy of its row from before could else be put back: the record of the data plane names the token for as long.
func (t Token) spent(now time.Time, delay time.Duration) bool {
	last := max(t.ExpiresAt, t.WithdrawnAt)
	if t.Used != nil {
		last = max(last, t.Used.At)
	}
	return now.Unix() > last+int64(delay/time.Second)
}

func newest(a, b Token) int { return int(b.CreatedAt - a.CreatedAt) }

func sorted(list []Token) []Token {
	slices.SortStableFunc(list, newest)
	return list
}
