package entities

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
)

const maxTags = 5

// filter is what a query asks of a collection.
type filter struct {
	size   int
	after  string // the last id of the page before
	tags   []string
	anyTag bool
	refuse bool // a page with rows that do not open, instead of naming them beside the others
}

func filterOf(r *rest.Request, top bool) (f filter, err error) {
	query := r.URL.Query()
	if f.size, err = rest.SizeOf(query); err != nil {
		return f, err
	}
	if f.after, err = rest.AfterOf(query); err != nil {
		return f, err
	}
	if top && query.Has("tags") {
		if f.tags, f.anyTag, err = tagsOf(query.Get("tags")); err != nil {
			return f, err
		}
	}
	f.refuse = query.Get("undecryptable") == "refuse"
	return f, nil
}

// tagsOf reads "a,b" (all of them) or "a/b" (one of them).
func tagsOf(text string) (tags []string, anyTag bool, err error) {
	if text == "" {
		return nil, false, tagsRefused("cannot be null")
	}
	anyTag = strings.Contains(text, "/")
	if anyTag && strings.Contains(text, ",") {
		return nil, false, tagsRefused("invalid filter syntax")
	}
	separator := ","
	if anyTag {
		separator = "/"
	}
	tags = strings.Split(text, separator)
	if len(tags) > maxTags {
		return nil, false, tagsRefused("cannot have more than 5 tags")
	}
	for _, tag := range tags {
		if tag == "" || strings.ContainsFunc(tag, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			return nil, false, tagsRefused("invalid filter syntax")
		}
	}
	return tags, anyTag, nil
}

func tagsRefused(message string) error {
	return &rest.Refusal{Status: http.StatusBadRequest, Body: map[string]any{
		"code": 11, "name": "invalid options", "options": map[string]any{"tags": message},
		"message": "invalid option (tags: " + message + ")",
	}}
}

// page writes a list; offset is "" on the last page. Rows that do not open are named in a member of their own,
// which is there only then.
func page(r *rest.Request, items [][]byte, bad []catalog.Undecryptable, offset string, keep ...string) rest.Answer {
	b := []byte(`{"data":[`)
	for i, item := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, item...)
	}
	b = append(b, ']')
	if len(bad) > 0 {
		named, _ := rest.Marshal(unopened(bad)) // of strings: cannot fail
		b = append(append(b, `,"undecryptable":`...), named...)
	}
	b = append(b, `,"next":`...)
	if offset == "" {
		return rest.Answer{Status: http.StatusOK, Body: append(b, `null}`...)}
	}
	next := url.Values{"offset": {offset}}
	for _, name := range keep {
		if r.URL.Query().Has(name) {
			next.Set(name, r.URL.Query().Get(name))
		}
	}
	path := strings.TrimSuffix(r.URL.EscapedPath(), "/") + "?" + next.Encode()
	for _, text := range []string{path, offset} {
		quoted, _ := rest.Marshal(text) // of a string: cannot fail
		b = append(b, quoted...)
		b = append(b, `,"offset":`...)
	}
	return rest.Answer{Status: http.StatusOK, Body: append(b[:len(b)-len(`,"offset":`)], '}')}
}
