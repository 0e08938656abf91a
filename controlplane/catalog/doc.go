// Package catalog is the only reader and writer of entities: what the Admin API changes and what data
// planes are given passes through it, and one change is one transaction of the database.
//
// It knows the rules that need other rows: lookups by id or endpoint key, nesting below a parent,
// workspaces, foreign and unique keys, what a delete takes with it, how a plugin's protocols fit its route.
// What one row may be is shared/schema's to say, how secrets rest is controlplane/encryption's, where rows
// rest is the store's. Who may do it is not decided here.
//
// Refusals that a client can mend are a [Problem], in Kong's words, wrapped in a fault.Error. Other faults:
//
//	fault.Unavailable   subject "key/<id>": a key of the keyring is missing; or the database is away
//	fault.Corrupt       a stored value was changed or moved, and does not open
//	fault.Conflict      others kept changing the same rows; nothing was changed
//
// # Secrets
//
// Every encrypted field rests sealed for its place: workspace id, table, row id, schema path. Every write
// seals all of a row's secrets anew under the active key; a write that changes nothing else is written too
// if one of them was stale, in silence: no revision, and no data plane hears of it.
//
// A password is kept as a memory-hard hash, and beside it a keyed check by which an unchanged password is
// known again without hashing. A text that looks like a hash is a password, unless it comes from a
// declarative file that says its values are hashes.
//
// # One bad row
//
// A row that does not open (a lost key, a changed value) fails alone: lists name it and go on, it can be
// deleted, and replaced as a whole.
package catalog
