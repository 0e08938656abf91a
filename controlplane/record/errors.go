package record

import (
	"errors"
	"fmt"
	"strings"
)

// History cannot continue where it was left: read a [Store.Snapshot] and go on from its revision.
var (
	ErrTrimmed = errors.New("the history no longer reaches back that far")
	ErrRewound = errors.New("the database has not given out that revision; it may have been restored from an older copy")
)

// UniqueError says that a batch gives a unique value to a second row. Stores wrap it in fault.Conflict.
type UniqueError struct {
	Table     string
	Column    string // field name; of a key over several fields all names, joined by ","
	Workspace string // "" where the key is unique over all workspaces
	ID        string // the row of the batch that was refused
	Holder    string // the row that has the value; "" when it was gone before it could be named
}

func (e *UniqueError) Error() string {
	return fmt.Sprintf("%s/%s: the value of %s is taken", e.Table, e.ID, e.Column)
}

// Fields are the names of the fields of the key.
func (e *UniqueError) Fields() []string { return strings.Split(e.Column, ",") }

// ReferenceError says that a batch would leave a row referring to none. Stores wrap it in fault.Conflict.
type ReferenceError struct {
	Table      string // the referring table
	Column     string // its field, or "workspace"
	Referenced string // the table referred to
	ID         string // the referring row; "" when it was gone before it could be named
	Target     string // the row referred to; "" as above
	Missing    bool   // the batch refers to a missing row; else it deletes one that is still referred to
}

func (e *ReferenceError) Error() string {
	if e.Missing {
		return fmt.Sprintf("%s/%s: %s refers to a row missing from %s", e.Table, e.ID, e.Column, e.Referenced)
	}
	return fmt.Sprintf("%s/%s is still referred to by %s/%s", e.Referenced, e.Target, e.Table, e.ID)
}

// ExistsError says that a row's id is taken. Stores wrap it in fault.Conflict.
type ExistsError struct{ Table, ID string }

func (e *ExistsError) Error() string { return e.Table + "/" + e.ID + " exists already" }

// VersionError says that a database was migrated by a newer program. Stores wrap it in fault.Denied.
type VersionError struct{ Stored, Known int64 }

func (e *VersionError) Error() string {
	return fmt.Sprintf("the database is of version %d, this program knows versions up to %d: "+
		"start the newer program, or restore a backup made before it", e.Stored, e.Known)
}
