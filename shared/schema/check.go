package schema

import (
	"fmt"
	"math"
	"slices"
	"strings"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
	"github.com/keepgate/keepgate/shared/schema/internal/format"
)

const (
	requiredMissing = "required field missing"
	unknownField    = "unknown field"
	mustBeNull      = "value must be null"
	immutableField  = "immutable field cannot be updated"
)

// check checks the whole tree and leaves canonical values in it: int64, float64, sets without repetitions.
func (b *build) check() {
	for name := range b.tree {
		if f := b.entity.Field(name); f == nil || !f.onAPI() {
			b.problems.field(name, unknownField)
		}
	}
	for _, f := range b.entity.Fields {
		if !f.onAPI() || b.problems[f.Name] != nil {
			continue
		}
		b.checkMember(f)
	}
	b.pointToNames()
	b.checkPlugin()
	runRules(b, b.entity.rules, b.tree, b.problems)
}

// checkMember checks one top-level field.
func (b *build) checkMember(f *Field) {
	if f.Kind == Config {
		return // checkPlugin
	}
	if f.Name == protocolsField && b.plugin != nil {
		f = b.plugin.protocols
	}
	v, problem := checkField(f, b.tree[f.Name])
	if problem != nil {
		b.problems[f.Name] = problem
		return
	}
	b.tree[f.Name] = v
	if f.Immutable && b.base != nil && b.moved(f, v) {
		b.problems.field(f.Name, immutableField)
	}
}

// moved reports whether a field gets another value than the row has. To belong to nothing is to have one.
func (b *build) moved(f *Field, v any) bool {
	before := fieldTree(f, b.base)
	if f.Kind == Foreign {
		was, _ := before.(map[string]any)
		is, _ := v.(map[string]any)
		return was["id"] != is["id"]
	}
	return before != nil && before != v
}

// checkPlugin checks what depends on the plugin that the row configures.
func (b *build) checkPlugin() {
	e := b.entity
	if e.config == nil {
		return
	}
	name, _ := b.tree[e.name.Name].(string)
	if b.plugin == nil {
		if name != "" {
			b.problems.field(e.name.Name,
				fmt.Sprintf("plugin '%s' not enabled; GET / lists the plugins there are", name))
		}
		return
	}
	for _, field := range []string{"consumer", "consumer_group"} {
		if b.plugin.NoConsumer && b.tree[field] != nil {
			b.problems.field(field, mustBeNull)
		}
	}
	v := b.tree[e.config.Name]
	if v == nil {
		b.problems.field(e.config.Name, requiredMissing)
		return
	}
	config, problem := checkField(b.plugin.config, v)
	if problem != nil {
		b.problems[e.config.Name] = problem
		return
	}
	b.tree[e.config.Name] = config
	for _, r := range b.plugin.rules {
		if r.config == nil {
			continue
		}
		if message := r.config(config.(map[string]any)); message != "" {
			b.problems.field(e.config.Name, message)
		}
	}
}

// expected says which kind a value should have had.
func expected(k Kind) string {
	article := "a"
	if k == Integer || k == Array {
		article = "an"
	}
	return "expected " + article + " " + k.String()
}

// checkField checks a field that may be null.
func checkField(f *Field, v any) (canonical, problem any) {
	if v == nil {
		if f.Required {
			return nil, requiredMissing
		}
		return nil, nil
	}
	return checkValue(f, v)
}

// checkValue checks a value that is not null: its kind, then what its marks ask.
func checkValue(f *Field, v any) (canonical, problem any) {
	switch f.Kind {
	case String:
		return checkString(f, v)
	case Boolean:
		if _, ok := v.(bool); !ok {
			return nil, expected(Boolean)
		}
		return v, nil
	case Integer, Number:
		return checkNumber(f, v)
	case Set, Array:
		return checkList(f, v)
	case Map:
		return checkMap(f, v)
	case Foreign:
		return checkForeign(v)
	}
	return checkRecord(f, v)
}

func checkString(f *Field, v any) (any, any) {
	s, ok := v.(string)
	if !ok {
		return nil, expected(String)
	}
	if !storable(s) {
		return nil, "invalid value: not valid UTF-8 text"
	}
	if message := checkReference(f, s); message != "" {
		return nil, message
	}
	if f.Referenceable && isReference(s) {
		return s, nil
	}
	m := f.marks
	least := int64(1) // an empty string is never a value, unless len_min says so
	if m.LenMin != nil {
		least = m.GetLenMin()
	}
	if int64(len(s)) < least {
		return nil, fmt.Sprintf("length must be at least %d", least)
	}
	if m.LenMax != nil && int64(len(s)) > m.GetLenMax() {
		return nil, fmt.Sprintf("length must be at most %d", m.GetLenMax())
	}
	if len(m.GetOneOf()) > 0 && !slices.Contains(m.GetOneOf(), s) {
		return nil, "expected one of: " + strings.Join(m.GetOneOf(), ", ")
	}
	if slices.Contains(m.GetNotOneOf(), s) {
		return nil, "must not be one of: " + strings.Join(m.GetNotOneOf(), ", ")
	}
	if message := f.matches(s); message != "" {
		return nil, message
	}
	if m.GetFormat() != schemav1.Format_FORMAT_UNSPECIFIED {
		var message string
		if s, message = format.Check(m.GetFormat(), s); message != "" {
			return nil, message
		}
	}
	return s, nil
}

// matches checks the pattern; the value of an encrypted field is not repeated.
func (f *Field) matches(s string) string {
	switch {
	case f.pattern.re == nil || f.pattern.re.MatchString(s):
		return ""
	case f.pattern.message != "":
		return f.pattern.message
	case f.Encrypted:
		return "invalid value"
	}
	return "invalid value: " + s
}

// maxSeconds bounds times with a fraction, so that their milliseconds are exact.
const maxSeconds = 1 << 40

func checkNumber(f *Field, v any) (any, any) {
	number, ok := toFloat(v)
	if _, isText := v.(string); isText || !ok {
		if f.marks.GetFractionalSeconds() {
			return nil, expected(Number)
		}
		return nil, expected(f.Kind)
	}
	if f.marks.GetFractionalSeconds() && math.Abs(number) > maxSeconds {
		return nil, fmt.Sprintf("value should be between 0 and %d", int64(maxSeconds))
	}
	var canonical any = number
	if f.Kind == Integer && !f.marks.GetFractionalSeconds() {
		whole, ok := toInt(v)
		if !ok {
			return nil, expected(Integer)
		}
		canonical = whole
	}
	m := f.marks
	if b := m.GetBetween(); b != nil && (number < b.GetMin() || number > b.GetMax()) {
		return nil, f.between
	}
	if m.Gt != nil && number <= m.GetGt() {
		return nil, "value must be greater than " + plain(m.GetGt())
	}
	if len(m.GetOneOf()) > 0 && !slices.Contains(m.GetOneOf(), plain(number)) {
		return nil, "expected one of: " + strings.Join(m.GetOneOf(), ", ")
	}
	return canonical, nil
}
