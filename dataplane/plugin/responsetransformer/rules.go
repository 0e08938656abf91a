package responsetransformer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/dataplane/jsonobject"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
	"github.com/keepgate/keepgate/shared/reserved"
)

// rules are what happens to the named values of one part of a response, in this order.
type rules struct {
	remove  []string
	rename  []renaming
	replace []assignment // where the name is there
	add     []assignment // where it is not
	append  []assignment
}

// renaming gives the values of one name another.
type renaming struct{ from, to string }

// assignment gives a name a value.
type assignment struct {
	name string
	text string // of a header
	json []byte // of a member
}

func (r *rules) empty() bool {
	return len(r.remove)+len(r.rename)+len(r.replace)+len(r.add)+len(r.append) == 0
}

var errNoName = errors.New("an entry has no name")

func compileHeaders(c *pluginv1.ResponseTransformer) (r rules, err error) {
	if r.remove, err = names(c.GetRemove().GetHeaders()); err != nil {
		return r, err
	}
	if r.rename, err = renamings(c.GetRename().GetHeaders()); err != nil {
		return r, err
	}
	for to, list := range map[*[]assignment]*configv1.StringArray{
		&r.replace: c.GetReplace().GetHeaders(), &r.add: c.GetAdd().GetHeaders(), &r.append: c.GetAppend().GetHeaders(),
	} {
		if *to, err = assignments(list); err != nil {
			return r, err
		}
	}
	return r, r.checkHeaders()
}

// checkHeaders refuses what a configuration is refused for.
func (r *rules) checkHeaders() error {
	changes := reserved.Changes{Read: slices.Clone(r.remove)}
	for _, one := range r.rename {
		changes.Read, changes.Renamed = append(changes.Read, one.from), append(changes.Renamed, one.to)
	}
	for into, list := range map[*[]string][]assignment{&changes.Replace: r.replace, &changes.Set: slices.Concat(r.add, r.append)} {
		for _, a := range list {
			*into = append(*into, a.name)
		}
	}
	if wrong := changes.OfResponse(); wrong != "" {
		return errors.New(wrong)
	}
	return nil
}

func compileJSON(c *pluginv1.ResponseTransformer) (r rules, err error) {
	if r.remove, err = names(c.GetRemove().GetJson()); err != nil {
		return r, err
	}
	if r.rename, err = renamings(c.GetRename().GetJson()); err != nil {
		return r, err
	}
	for to, from := range map[*[]assignment]*pluginv1.TransformedResponse{&r.replace: c.GetReplace(), &r.add: c.GetAdd(), &r.append: c.GetAppend()} {
		list, err := assignments(from.GetJson())
		if err != nil {
			return r, err
		}
		types := from.GetJsonTypes().GetValues()
		for n := range list {
			kind := ""
			if n < len(types) {
				kind = types[n]
			}
			if list[n].json, err = member(list[n].text, kind); err != nil {
				return r, err
			}
		}
		*to = list
	}
	return r, nil
}

// member is a text of the configuration as JSON of a type.
func member(text, kind string) ([]byte, error) {
	switch kind {
	case "", "string":
		return jsonobject.Quote(nil, text), nil
	case "boolean":
		if text != "true" && text != "false" {
			return nil, fmt.Errorf("'%s' is not a boolean", text)
		}
		return []byte(text), nil
	case "number":
		text = strings.TrimSpace(text)
		if json.Valid([]byte(text)) && strings.IndexByte("-0123456789", text[0]) >= 0 {
			return []byte(text), nil
		}
		n, err := strconv.ParseFloat(text, 64) // ".5" and "+1", which JSON does not know
		made, notFinite := json.Marshal(n)
		if err != nil || notFinite != nil {
			return nil, fmt.Errorf("'%s' is not a number", text)
		}
		return bytes.Clone(made), nil
	}
	return nil, fmt.Errorf("json_types does not know '%s'", kind)
}

func names(list *configv1.StringArray) (made []string, err error) {
	for _, entry := range list.GetValues() {
		name, _ := reserved.Cut(entry)
		if name == "" {
			return nil, errNoName
		}
		made = append(made, name)
	}
	return made, nil
}

func renamings(list *configv1.StringArray) (made []renaming, err error) {
	pairs, err := assignments(list)
	for _, p := range pairs {
		made = append(made, renaming{p.name, p.text})
	}
	return made, err
}

func assignments(list *configv1.StringArray) (made []assignment, err error) {
	for _, entry := range list.GetValues() {
		name, value := reserved.Cut(entry)
		switch {
		case name == "":
			return nil, errNoName
		case value == "":
			return nil, fmt.Errorf("key '%s' has no value", name)
		}
		made = append(made, assignment{name: name, text: value})
	}
	return made, nil
}
