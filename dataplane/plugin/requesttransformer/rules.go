package requesttransformer

import (
	"fmt"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
	"github.com/keepgate/keepgate/shared/reserved"
	"github.com/keepgate/keepgate/shared/secretref"
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
func (m *maker) compileRules(c *pluginv1.RequestTransformer, replaced *configv1.StringArray, of onlyIn) (r rules, err error) {
	for _, entry := range of(c.GetRemove()).GetValues() {
		name, _ := reserved.Cut(entry)
		if name == "" {
			return r, errNoName
		}
		r.remove = append(r.remove, name)
	}
	for _, entry := range of(c.GetRename()).GetValues() {
		from, to := reserved.Cut(entry)
		if from == "" {
			return r, errNoName
		}
		if to == "" {
			return r, fmt.Errorf("key '%s' has no value", from)
		}
		r.rename = append(r.rename, renaming{from, to})
	}
	if r.replace, err = m.assignments(replaced); err != nil {
		return r, err
	}
	if r.add, err = m.assignments(of(c.GetAdd())); err != nil {
		return r, err
	}
	r.append, err = m.assignments(of(c.GetAppend()))
	return r, err
}

func (m *maker) assignments(list *configv1.StringArray) ([]assignment, error) {
	var made []assignment
	for _, entry := range list.GetValues() {
		name, value := reserved.Cut(entry)
		switch {
		case name == "":
			return nil, errNoName
		case secretref.Meant(entry):
			return nil, errOnlyReference
		}
		if value == "" {
			return nil, fmt.Errorf("key '%s' has no value", name)
		}
		number, err := m.value(value, asItIs)
		if err != nil {
			return nil, err
		}
		made = append(made, assignment{name, number})
	}
	return made, nil
}

// value adds a template to those that are filled in for each request.
func (m *maker) value(text string, write func(string) string) (number int, err error) {
	t, err := m.template(text, write)
	if err != nil {
		return 0, err
	}
	m.templates = append(m.templates, t)
	return len(m.templates) - 1, nil
}
