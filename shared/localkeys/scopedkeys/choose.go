package scopedkeys

import (
	"context"
	"fmt"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
)

// Chosen is a key that seals something on this node.
type Chosen struct {
	Key     *localkeys.Scoped
	Given   Key
	Scope   string // "organisation acme", "environment prod"
	From    string // the setting, the file, or the file and line
	Why     string
	Wrapped string // as it is written, where it is wrapped
}

// Choice is which scoped keys a node uses.
type Choice struct {
	Who      Who
	Chosen   map[localkeys.Section]Chosen
	Warnings []string
}

// Keys are the chosen keys as a ring takes them.
func (c *Choice) Keys() map[localkeys.Section]*localkeys.Scoped {
	keys := map[localkeys.Section]*localkeys.Scoped{}
	for section, chosen := range c.Chosen {
		keys[section] = chosen.Key
	}
	return keys
}

// chooser chooses for one node.
type chooser struct {
	ctx      context.Context
	who      Who
	opener   Opener // nil: nothing wrapped can be opened
	strict   bool
	problems Problems
	choice   *Choice
	opened   map[string]*localkeys.Scoped // wrapped values, each opened once
	failure  error                        // of an opener that could not be asked
}

// Choose decides for a node, and opens wrapped keys. It fails with fault.Invalid, wrapping *[Problems], for what can never be
// right, and as the opener does where it cannot open.
func (r *Read) Choose(ctx context.Context, who Who, opener Opener) (*Choice, error) {
	c := &chooser{
		ctx: ctx, who: who, opener: opener, strict: r.sources.Strict, opened: map[string]*localkeys.Scoped{},
		choice: &Choice{Who: who, Chosen: map[localkeys.Section]Chosen{}, Warnings: r.notices},
	}
	all, again := r.forNode(c)
	for _, key := range Keys() {
		c.choose(key, all)
	}
	for _, kms := range again {
		c.sameKMS(kms)
	}
	if c.failure != nil {
		return nil, c.failure
	}
	if err := c.problems.err("scopedkeys.Choose"); err != nil {
		return nil, err
	}
	return c.choice, nil
}

// forNode is what of all that is given concerns the node, the strongest first, and its environment's kms key. What is
// doubtful is told wherever it stands.
func (r *Read) forNode(c *chooser) (all, again []given) {
	all = append(all, r.given...)
	f := r.file
	if f != nil {
		if f.organisation != "" && f.organisation != c.who.Organisation {
			c.problems.add(place{f.name, f.organisationLine, "org"}, "the file is of organisation %q, and this node is of %q", f.organisation, c.who.Organisation)
		}
		all = append(all, f.organisationKeys...)
		for _, e := range f.environments {
			if e.name == c.who.Environment {
				all, again = append(all, e.keys...), e.kms
			} else {
				c.doubt(e.keys, e.kms)
			}
		}
		all = append(all, f.defaults...)
	}
	c.doubt(all, again)
	return all, again
}

func (c *chooser) doubt(lists ...[]given) {
	for _, list := range lists {
		for _, g := range list {
			switch {
			case g.value.Doubt == "":
			case c.strict:
				c.problems.add(g.from, "%s; encryption_keys_strict refuses it", g.value.Doubt)
			default:
				c.choice.Warnings = append(c.choice.Warnings, Problem{g.from.file, g.from.line, g.from.field, g.value.Doubt}.String())
			}
		}
	}
}

// choose takes the strongest of what is given for a key. Whatever is no default must say the same.
func (c *chooser) choose(key Key, all []given) {
	var first *given
	var chosen *localkeys.Scoped
	for i := range all {
		g := &all[i]
		if g.key != key || first != nil && g.rank == byDefault {
			continue
		}
		scoped := c.open(*g)
		switch {
		case scoped == nil:
		case first == nil:
			first, chosen = g, scoped
		case !chosen.Same(scoped):
			c.problems.add(g.from, "%s gives another key for the same: give it once, or the same one", first.from)
		}
	}
	if first == nil {
		return
	}
	c.choice.Chosen[key.Section(c.who)] = Chosen{
		Key: chosen, Given: key, Scope: key.scope(c.who), From: first.from.String(), Why: why(*first), Wrapped: first.value.Wrapped,
	}
}

func why(g given) string {
	switch g.rank {
	case bySetting:
		return "the setting gives it"
	case byFolder:
		return "the folder gives it"
	case byFile:
		return fmt.Sprintf("the file gives it for this %s", level(g.key))
	default:
		return fmt.Sprintf("the file's defaults give it, and nothing for this %s", level(g.key))
	}
}

func level(k Key) string {
	if k.Environment {
		return "environment"
	}
	return "organisation"
}

// open is nil for what cannot be opened, which is noted.
func (c *chooser) open(g given) *localkeys.Scoped {
	if g.value.Wrapped == "" {
		scoped, err := localkeys.NewScoped(g.value.Plain)
		if err != nil { // its length was looked at
			c.problems.add(g.from, "%v", err)
		}
		return scoped
	}
	if scoped, known := c.opened[g.value.Wrapped]; known {
		return scoped
	}
	scoped := c.unwrap(g)
	c.opened[g.value.Wrapped] = scoped
	return scoped
}

func (c *chooser) unwrap(g given) *localkeys.Scoped {
	if c.opener == nil {
		c.problems.add(g.from, "nothing here opens wrapped keys")
		return nil
	}
	material, err := c.opener.OpenKey(c.ctx, g.value.Wrapped)
	if err != nil {
		if fault.KindOf(err) == fault.Unavailable {
			c.failure = fault.New(fault.Unavailable, "scopedkeys.Choose", g.from.String(), err)
			return nil
		}
		c.problems.add(g.from, "opening it: %s", fault.Text(err))
		return nil
	}
	defer material.Wipe()
	scoped, err := localkeys.NewScoped(material)
	if err != nil {
		c.problems.add(g.from, "what it wraps has %d bytes, want 16, 24 or 32", material.Len())
		return nil
	}
	return scoped
}

// sameKMS holds the environment's kms key to the one that seals.
func (c *chooser) sameKMS(own given) {
	organisation, there := c.choice.Chosen[localkeys.Section{Class: localkeys.KMS}]
	if scoped := c.open(own); scoped != nil && there && !organisation.Key.Same(scoped) {
		c.problems.add(own.from, "it differs from the organisation's, of %s, which alone seals credentials: write the same one, or none", organisation.From)
	}
}
