// Package journal is the audit journal's part of the Admin API: reading entries, chains and heads. It writes
// nothing; what the API itself records is in controlplane/admin, and what is true of a journal in
// controlplane/audit.
//
// Whoever is admitted may read: entries name things and never hold secrets.
package journal

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/audit/heads"
	"github.com/keepgate/keepgate/controlplane/record"
)

// Journal is what the API shows. *audit.Journal is one.
type Journal interface {
	Entries(ctx context.Context, query record.AuditQuery) ([]record.AuditEntry, error)
	Ends(ctx context.Context) ([]record.AuditEntry, error)
	Heads() []heads.Held
	Cluster() string
	Node() string
}

// API answers for the journal.
type API struct{ journal Journal }

// New makes the API.
func New(journal Journal) *API { return &API{journal} }

// Mount adds all paths.
func (a *API) Mount(t *rest.Table) {
	t.Handle("GET", "/audit", a.list)
	t.Handle("GET", "/audit/chain", a.chain)
	t.Handle("GET", "/audit/heads", a.heads)
}

// shown is an entry for people.
type shown struct {
	Node     string       `json:"node"`
	Sequence uint64       `json:"sequence"`
	At       int64        `json:"at"` // Unix milliseconds
	Actor    audit.Actor  `json:"actor"`
	Action   string       `json:"action"`
	Subject  string       `json:"subject"`
	Detail   audit.Detail `json:"detail"`
	Outcome  string       `json:"outcome,omitempty"`
	Hash     string       `json:"hash"`
	Damaged  bool         `json:"damaged,omitempty"` // no journal wrote it so
}

func show(e record.AuditEntry) shown {
	body, err := audit.ParseBody(e.Body)
	if body.Detail == nil {
		body.Detail = audit.Detail{}
	}
	return shown{
		e.Node, e.Sequence, e.At, body.Actor, body.Action, body.Subject, body.Detail, body.Outcome,
		hex.EncodeToString(e.Hash), err != nil || e.Sequence == 0 || e.Sequence > 1<<62,
	}
}

// link is an entry as it is chained: the body's very text.
type link struct {
	Node     string `json:"node"`
	Sequence uint64 `json:"sequence"`
	At       int64  `json:"at"`
	Body     string `json:"body"`
	Hash     string `json:"hash"`
}

// chain lists the entries of one node in their order.
func (a *API) chain(r *rest.Request) (rest.Answer, error) {
	query := r.URL.Query()
	node := query.Get("node")
	if node == "" {
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "node: required; GET /audit/heads lists the nodes under chains")
	}
	size, err := rest.SizeOf(query)
	if err != nil {
		return rest.Answer{}, err
	}
	var after uint64
	if query.Has("after") {
		if after, err = strconv.ParseUint(query.Get("after"), 10, 63); err != nil {
			return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "after must be the sequence of an entry")
		}
	}
	entries, err := a.journal.Entries(r.Context(), record.AuditQuery{Node: node, After: after, Limit: size})
	if err != nil {
		return rest.Answer{}, err
	}
	links := make([]link, len(entries))
	for i, e := range entries {
		links[i] = link{e.Node, e.Sequence, e.At, string(e.Body), hex.EncodeToString(e.Hash)}
	}
	var next *string
	if len(entries) == size {
		text := "/audit/chain?" + url.Values{
			"node": {node}, "after": {strconv.FormatUint(entries[size-1].Sequence, 10)}, "size": {strconv.Itoa(size)},
		}.Encode()
		next = &text
	}
	return rest.JSON(http.StatusOK, map[string]any{"data": links, "next": next}), nil
}

// heads lists what this node holds, and where the chains end in the database.
func (a *API) heads(r *rest.Request) (rest.Answer, error) {
	ends, err := a.journal.Ends(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	chains := make([]map[string]any, len(ends))
	for i, e := range ends {
		chains[i] = map[string]any{"node": e.Node, "sequence": e.Sequence, "at": e.At, "hash": hex.EncodeToString(e.Hash)}
	}
	held := a.journal.Heads()
	data := make([]json.RawMessage, len(held))
	for i, h := range held {
		data[i] = h.Encode()
	}
	return rest.JSON(http.StatusOK, map[string]any{
		"cluster": a.journal.Cluster(), "node": a.journal.Node(), "chains": chains, "data": data, "next": nil,
	}), nil
}
