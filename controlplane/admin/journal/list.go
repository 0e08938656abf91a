package journal

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/record"
)

const (
	// readAtOnce and maxRead bound what one request looks through for entries of one action. A page that
	// ends there is short, and its next one goes on.
	readAtOnce = 500
	maxRead    = 10_000
)

// list shows entries, the newest first: of all nodes or of one, of all actions or of some.
func (a *API) list(r *rest.Request) (rest.Answer, error) {
	query := r.URL.Query()
	size, err := rest.SizeOf(query)
	if err != nil {
		return rest.Answer{}, err
	}
	l := listing{journal: a.journal, node: query.Get("node")}
	if l.before, err = placeOf(query.Get("offset")); err != nil {
		return rest.Answer{}, err
	}
	found := []shown{}
	for read := 0; len(found) < size && read < maxRead && !l.ended; {
		page, err := l.page(r.Context())
		if err != nil {
			return rest.Answer{}, err
		}
		read += max(len(page), 1)
		for _, e := range page {
			if len(found) == size {
				l.ended = false
				break
			}
			l.before = &record.AuditPlace{At: e.At, Node: e.Node, Sequence: e.Sequence}
			if entry := show(e); matches(entry.Action, query.Get("action")) {
				found = append(found, entry)
			}
		}
	}
	return rest.JSON(http.StatusOK, paged(query, found, size, l)), nil
}

// paged is Kong's page.
func paged(query url.Values, found []shown, size int, l listing) map[string]any {
	page := map[string]any{"data": found, "next": nil}
	if l.ended || l.before == nil {
		return page
	}
	offset := offsetOf(*l.before)
	next := url.Values{"offset": {offset}, "size": {strconv.Itoa(size)}}
	for _, name := range []string{"node", "action"} {
		if query.Has(name) {
			next.Set(name, query.Get(name))
		}
	}
	page["next"], page["offset"] = "/audit?"+next.Encode(), offset
	return page
}

// matches reports whether an action is the one that is asked for, or one below it: "key" asks for key.activate
// too.
func matches(action, asked string) bool {
	return asked == "" || action == asked || strings.HasPrefix(action, strings.TrimSuffix(asked, ".")+".")
}

// listing walks back through the journal.
type listing struct {
	journal Journal
	node    string // "": all
	before  *record.AuditPlace
	ended   bool
}

func (l *listing) page(ctx context.Context) ([]record.AuditEntry, error) {
	if l.node != "" {
		return l.pageOfNode(ctx)
	}
	page, err := l.journal.Entries(ctx, record.AuditQuery{Before: l.before, Limit: readAtOnce})
	l.ended = len(page) < readAtOnce
	return page, err
}

// pageOfNode reads a stretch of one chain, which the database gives in its order, and turns it round.
func (l *listing) pageOfNode(ctx context.Context) ([]record.AuditEntry, error) {
	if l.before == nil {
		if err := l.begin(ctx); err != nil {
			return nil, err
		}
	}
	from := uint64(0)
	if l.before.Sequence > readAtOnce+1 {
		from = l.before.Sequence - readAtOnce - 1
	}
	page, err := l.journal.Entries(ctx, record.AuditQuery{Node: l.node, After: from, Limit: readAtOnce})
	if err != nil {
		return nil, err
	}
	page = slices.DeleteFunc(page, func(e record.AuditEntry) bool { return e.Sequence >= l.before.Sequence })
	slices.Reverse(page)
	l.ended = from == 0
	if len(page) == 0 { // a gap
		l.before.Sequence = from + 1
	}
	return page, nil
}

// begin places a listing behind the newest entry of its node.
func (l *listing) begin(ctx context.Context) error {
	ends, err := l.journal.Ends(ctx)
	if err != nil {
		return err
	}
	l.before = &record.AuditPlace{Node: l.node}
	for _, e := range ends {
		if e.Node == l.node {
			l.before.Sequence = e.Sequence + 1
		}
	}
	return nil
}

// offsetOf writes a place as clients give it back: the base64 of a JSON array.
func offsetOf(place record.AuditPlace) string {
	text, _ := rest.Marshal([]any{place.At, place.Node, place.Sequence}) // of numbers and a text: cannot fail
	return base64.RawURLEncoding.EncodeToString(text)
}

func placeOf(offset string) (*record.AuditPlace, error) {
	if offset == "" {
		return nil, nil
	}
	wrong := rest.Coded(7, "invalid offset", "the offset is not one of a page of the journal")
	text, err := base64.RawURLEncoding.DecodeString(offset)
	if err != nil {
		return nil, wrong
	}
	var place record.AuditPlace
	if json.Unmarshal(text, &[]any{&place.At, &place.Node, &place.Sequence}) != nil || offsetOf(place) != offset {
		return nil, wrong
	}
	return &place, nil
}

var _ Journal = (*audit.Journal)(nil)
