package encryption

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/controlplane/record"
)

// Chain is what writes and reads one table.
type Chain struct {
	Providers []Provider // the first writes, all read; never empty
	Origin    string     // what says so, for people: a setting, or a place in a file
	// WhileMigrating: identity reads only until the database records that no plaintext is left.
	WhileMigrating bool
	// ByChoice: that plaintext rests here is the operator's standing choice, and no matter of a migration.
	ByChoice bool
}

// Chains says what writes and reads each table.
type Chains struct {
	Tables map[string]*Chain
	Others *Chain // of the tables that are not named
	// Complete: Tables names all that there are, so that what Others says is of no consequence.
	Complete bool
	// Plaintexts counts the rows with a secret in clear in those tables that pick names. It is asked when chains
	// come into force that do not read plaintext there. nil: what the database records is believed, that plaintext may
	// be left or that it is not.
	Plaintexts func(ctx context.Context, pick func(table string) bool) (rows int, err error)
}

// Options is what the settings declare. The zero value reads and writes values of the keyring alone.
type Options struct {
	// Migrate: plaintext of a time before the keyring may be read, as stale. A database that holds such is
	// refused without, with fault.Denied.
	Migrate bool
	// Decrypt: secrets are written in clear, and sealed ones are stale.
	Decrypt bool
	// Clear names tables whose values may rest in either form, and whether they are written in clear.
	Clear map[string]bool
}

// FromSettings makes the chains that the settings declare. Keys are nil when the keyring is off.
func FromSettings(keys Keys, o Options) Chains {
	identity := Identity()
	if keys == nil {
		return Chains{Others: &Chain{Providers: []Provider{identity}, Origin: "keyring_enabled = off"}}
	}
	ring := Keyring(keys)
	sealing, clear := []Provider{ring, identity}, []Provider{identity, ring}
	if o.Decrypt {
		return Chains{Others: &Chain{Providers: clear, Origin: "keyring_decrypt_all = on"}}
	}
	c := Chains{Others: &Chain{Providers: []Provider{ring}, Origin: "keyring_enabled = on"}, Tables: map[string]*Chain{}}
	if o.Migrate {
		c.Others = &Chain{Providers: sealing, Origin: "keyring_migrate_plaintext = on", WhileMigrating: true}
	}
	for table, inClear := range o.Clear {
		c.Tables[table] = &Chain{Providers: sealing, Origin: "keyring_encrypt_license = on", ByChoice: true}
		if inClear {
			c.Tables[table] = &Chain{Providers: clear, Origin: "keyring_encrypt_license = off", ByChoice: true}
		}
	}
	return c
}

// Guard replaces identity in the chain of a table by another that writes and reads plaintext.
func (c *Chains) Guard(table string, identity Provider) {
	chain := *c.Of(table)
	chain.Providers = slices.Clone(chain.Providers)
	for i, p := range chain.Providers {
		if p.Prefix() == "" {
			chain.Providers[i] = identity
		}
	}
	c.Tables = maps.Clone(c.Tables)
	if c.Tables == nil {
		c.Tables = map[string]*Chain{}
	}
	c.Tables[table] = &chain
}

// Of returns the chain of a table.
func (c *Chains) Of(table string) *Chain {
	if chain, ok := c.Tables[table]; ok {
		return chain
	}
	return c.Others
}

// Readable reports whether a provider of the table reads what has this mark.
func (c *Chains) Readable(table, mark string) bool {
	prefix := record.PrefixOf(mark)
	return slices.ContainsFunc(c.Of(table).Providers, func(p Provider) bool { return p.Prefix() == prefix })
}

// Prefixes lists the prefixes of what some table reads, sorted; identity is "identity".
func (c *Chains) Prefixes() (list []string) { return prefixes(c.all().providers()) }

// Writers lists the prefixes of what is written, as Prefixes does.
func (c *Chains) Writers() (list []string) {
	var writers []Provider
	for _, chain := range c.all() {
		writers = append(writers, chain.writer())
	}
	return prefixes(writers)
}

func prefixes(providers []Provider) (list []string) {
	for _, p := range providers {
		prefix := p.Prefix()
		if prefix == "" {
			prefix = "identity"
		}
		list = append(list, prefix)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (c *Chains) all() (list chainList) {
	if !c.Complete {
		list = append(list, c.Others)
	}
	for _, chain := range c.Tables {
		list = append(list, chain)
	}
	return list
}

// chainList is some chains, whatever tables they are for.
type chainList []*Chain

// providers lists each provider once.
func (l chainList) providers() (list []Provider) {
	for _, chain := range l {
		for _, p := range chain.Providers {
			if !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
	}
	return list
}

// clear reports whether every table is written in clear.
func (l chainList) clear() bool {
	return !slices.ContainsFunc(l, (*Chain).seals)
}

// clearing reports whether some table is written in clear that a file or a setting says it of, and no standing choice.
func (l chainList) clearing() bool {
	return slices.ContainsFunc(l, func(chain *Chain) bool { return !chain.seals() && !chain.ByChoice })
}

// strict reports whether some table's plaintext is never read.
func (l chainList) strict() bool {
	return slices.ContainsFunc(l, func(chain *Chain) bool { return !chain.readsPlaintext() })
}

// sealing reports whether there is a provider besides identity.
func (l chainList) sealing() bool {
	return slices.ContainsFunc(l.providers(), func(p Provider) bool { return p.Prefix() != "" })
}

func (c *Chain) writer() Provider { return c.Providers[0] }

func (c *Chain) seals() bool { return c.writer().Prefix() != "" }

// reads reports whether text is of the provider's form.
func reads(p Provider, text string) bool {
	prefix := p.Prefix()
	if prefix == "" {
		return !record.IsSealed(text)
	}
	return strings.HasPrefix(text, prefix)
}

// readsPlaintext reports whether identity is in the chain.
func (c *Chain) readsPlaintext() bool {
	return slices.ContainsFunc(c.Providers, func(p Provider) bool { return p.Prefix() == "" })
}

func (c *Chain) stale(text string) bool {
	mark := record.MarkOf(text)
	if mark == "" {
		return c.seals()
	}
	return mark != written(c.writer())
}

// written is the mark of what a provider would write, which is known even when it cannot.
func written(p Provider) string {
	if ring, ok := p.(*ringProvider); ok {
		return ring.writes()
	}
	mark, _ := p.Mark()
	return mark
}
