package declarative

import (
	"github.com/google/uuid"

	"github.com/keepgate/keepgate/shared/schema"
)

// elsewhere reports whether a foreign key leads to what stands in no file, as environments do: whether it is there, who applies
// the file finds out.
func (p *parser) elsewhere(key *schema.ForeignKey) bool {
	return standsNowhere(p.schema, key)
}

// outside keeps such a foreign key as it is said, and has the entry checked with an id that is made of it: two entries that
// name two environments are two.
func (en *entry) outside(name string, given any) {
	said, isRecord := given.(map[string]any)
	if text, isText := given.(string); isText && uuid.Validate(text) == nil {
		said, isRecord = map[string]any{"id": text}, true
	} else if isText {
		said, isRecord = map[string]any{"name": text}, true
	}
	if !isRecord {
		return // checked as it is, and refused
	}
	if en.said == nil {
		en.said = map[string]any{}
	}
	en.said[name] = said
	switch called, isNamed := said["name"].(string); {
	case said["id"] != nil:
		en.doc[name] = said
	case isNamed:
		en.doc[name] = reference(uuid.NewSHA1(uuid.MustParse(rootNamespace), []byte(name+":"+called)).String())
	}
}
