package catalog

import (
	"context"

	"google.golang.org/protobuf/proto"
)

// Dump is what a workspace holds, for a declarative file. Passwords are hashes in it, so the file must say
// _transform: false.
type Dump struct {
	Tables []DumpTable // parents before children; tables without entities are left out
	// Undecryptable rows are not in Tables. A file without them would delete them when it is pushed.
	Undecryptable []Undecryptable
	// Names are what environments are called that entities refer to, by "environments/id": they stand in no file, and a file
	// with their ids could be used nowhere else.
	Names map[string]string
}

// DumpTable is the entities of one table, by id.
type DumpTable struct {
	Table    string
	Entities []proto.Message
}

// Dump reads the entities of a workspace that have all of the tags, and the CA certificates, which belong
// to no workspace.
func (c *Catalog) Dump(ctx context.Context, workspace string, tags []string) (dump Dump, err error) {
	for _, e := range c.schema.Entities() {
		if !declarable(e) {
			continue
		}
		page, err := c.List(ctx, Query{Table: e.Table, Workspace: workspace, Tags: tags})
		if err != nil {
			return dump, err
		}
		dump.Undecryptable = append(dump.Undecryptable, page.Undecryptable...)
		if len(page.Entities) == 0 {
			continue
		}
		if e.Table == tableCertificates { // the SNIs are entities of their own
			for _, m := range page.Entities {
				clearField(m, fieldSNIs)
			}
		}
		dump.Tables = append(dump.Tables, DumpTable{e.Table, page.Entities})
		if e.Table == tableMaps {
			if dump.Names, err = c.environmentNames(ctx); err != nil {
				return dump, err
			}
		}
	}
	return dump, nil
}
