package declarative

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
	"github.com/keepgate/keepgate/shared/schema"
)

// rootNamespace is the name space of Kong's declarative ids, so that a file has the same ids here and there.
const rootNamespace = "fd02801f-0957-4a15-a55a-c8d9606f30b5"

// identify makes the id of an entry; see the package doc.
func (p *parser) identify(e *schema.Entity, en *entry, m proto.Message) string {
	table := uuid.NewSHA1(uuid.MustParse(rootNamespace), []byte(e.Table))
	return uuid.NewSHA1(table, []byte(p.key(e, en, m))).String()
}

func (p *parser) key(e *schema.Entity, en *entry, m proto.Message) string {
	doc, err := p.schema.Document(e, m)
	if err != nil {
		doc = en.doc
	}
	if f := e.Field(e.EndpointKey); f != nil && f.Encrypted {
		return p.nth(e, strings.TrimPrefix(parents(e, doc), ":")+":#")
	}
	if name, ok := doc[e.EndpointKey].(string); ok {
		if !e.Field(e.EndpointKey).Unique {
			name += parents(e, doc)
		}
		return name
	}
	for _, u := range e.Unique {
		if len(u.Fields) > 1 {
			return joint(u, doc)
		}
	}
	for _, u := range e.Unique {
		if text, ok := doc[u.Fields[0].Name].(string); ok && !u.Fingerprint {
			return text
		}
	}
	return p.content(e, doc)
}

// parents writes the ids of the cascading parents, each after a ":".
func parents(e *schema.Entity, doc schema.Document) string {
	text := ""
	for _, key := range e.Foreign {
		if key.Cascade {
			text += ":" + idIn(doc[key.Field.Name])
		}
	}
	return text
}

func idIn(v any) string {
	reference, _ := v.(map[string]any)
	id, _ := reference["id"].(string)
	return id
}

// joint joins the values of fields that are unique together.
func joint(u *schema.Unique, doc schema.Document) string {
	var parts []string
	for i, f := range u.Fields {
		part, _ := doc[f.Name].(string)
		if f.Kind == schema.Foreign {
			part = idIn(doc[f.Name])
		}
		if part != "" || i < len(u.Fields)-u.Optional {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ":")
}

// content identifies an entity that nothing names by what it says.
func (p *parser) content(e *schema.Entity, doc schema.Document) string {
	for _, f := range e.Fields {
		if f.Name == "id" || f.Name == "tags" || f.Encrypted || f.Auto != schemav1.Auto_AUTO_UNSPECIFIED {
			delete(doc, f.Name)
		}
	}
	text, err := json.Marshal(doc) // sorts keys; a tree of JSON values cannot fail
	if err != nil {
		text = []byte(err.Error())
	}
	sum := sha256.Sum256(text)
	key := "content:" + hex.EncodeToString(sum[:])
	if n := p.count(e, key); n > 1 {
		key += ":#" + strconv.Itoa(n)
	}
	return key
}

// nth counts the entries of one prefix.
func (p *parser) nth(e *schema.Entity, prefix string) string {
	return prefix + strconv.Itoa(p.count(e, prefix))
}

func (p *parser) count(e *schema.Entity, key string) int {
	if p.seen == nil {
		p.seen = map[string]int{}
	}
	p.seen[e.Table+"/"+key]++
	return p.seen[e.Table+"/"+key]
}
