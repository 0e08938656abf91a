package requesttransformer

import (
	"fmt"
	"strings"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

// rules are what happens to the named values of one part of a request, in this order.
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
	name  string
	value int // which of the instance's values
}

func (r *rules) empty() bool {
	return len(r.remove)+len(r.rename)+len(r.replace)+len(r.add)+len(r.append) == 0
}

// onlyIn is a function that returns one list of a record, as (*TransformedRequest).GetHeaders.
type onlyIn func(*pluginv1.TransformedRequest) *configv1.StringArray

// compileRules reads the lists of one part of a request. replaced is apart: its record has a type of its own.
func (i *instance) compileRules(c *pluginv1.RequestTransformer, replaced *configv1.StringArray, of onlyIn) (r rules, err error) {
	for _, entry := range of(c.GetRemove()).GetValues() {
		name, _ := split(entry)
		if name == "" {
			return r, errNoName
		}
		r.remove = append(r.remove, name)
	}
	for _, entry := range of(c.GetRename()).GetValues() {
		from, to := split(entry)
		if from == "" {
			return r, errNoName
		}
		if to == "" {
			return r, fmt.Errorf("key '%s' has no value", from)
		}
		r.rename = append(r.rename, renaming{from, to})
	}
	if r.replace, err = i.assignments(replaced); err != nil {
		return r, err
	}
	if r.add, err = i.assignments(of(c.GetAdd())); err != nil {
		return r, err
	}
	r.append, err = i.assignments(of(c.GetAppend()))
	return r, err
}

func (i *instance) assignments(list *configv1.StringArray) ([]assignment, error) {
	var made []assignment
	for _, entry := range list.GetValues() {
		name, value := split(entry)
		if name == "" {
			return nil, errNoName
		}
		if value == "" {
			return nil, fmt.Errorf("key '%s' has no value", name)
		}
		number, err := i.value(value)
		if err != nil {
			return nil, err
		}
		made = append(made, assignment{name, number})
	}
	return made, nil
}

// value adds a template to those that are filled in for each request.
func (i *instance) value(text string) (number int, err error) {
	t, err := parseTemplate(text)
	if err != nil {
		return 0, err
	}
	i.templates = append(i.templates, t)
	return len(i.templates) - 1, nil
}

// split cuts an entry at its first colons: Kong takes any number of them for one.
func split(entry string) (name, value string) {
	name, value, _ = strings.Cut(entry, ":")
	return name, strings.TrimLeft(value, ":")
}
