// Package localstore keeps a data plane's last accepted configuration on its own disk, sealed and
// crash-safe, so that it starts and serves without a control plane.
//
// It knows entries as bytes of a kind, an id and a data class; what they mean, how they merge and what
// their hash is, is decided by its callers (shared/configset, dataplane/apply). It holds no entries: [Open]
// returns them once. Which keys seal is decided by [Keys].
//
// # Files
//
// Integers are big-endian; "string" is a length byte and bytes; frozen by testdata/golden.
//
//	lock                 held by flock while a process has the store
//	snapshot-<16 hex>    a whole state; the digits are the generation
//	journal-<16 hex>     the changes since that snapshot
//	keys                 scoped keys that something here may be sealed by
//	*.tmp                an unfinished replacement, or what was being destroyed; removed by Open
//	*.aside-<time>       what could not be opened; never read again, and never removed unless it may be in clear
//
// A generation is a snapshot and its journal. The one before is kept as a standby until the next but one is
// durable. Both files begin with a header:
//
//	magic      8    "KGSNAP1\n" or "KGJRNL1\n"
//	length     4    of the body
//	body       n
//	sum        32   SHA-256 of all before
//
// The body of a snapshot's header, and what follows it:
//
//	mode       1    0 off, 1 aes-256-gcm, 2 chacha20-poly1305
//	file       16   random id of the file
//	generation 8
//	epoch      8
//	version    8
//	hash       32   as the caller gave it
//	sections   2    at least 1; for each:
//	  class    string
//	  scope    string
//	  entries  8
//	  key      2+n  the section's data key, wrapped (shared/localkeys); n=0 in mode off
//
//	then for each section, in this order, its chunks:
//	  length   4    of the sealed bytes; the highest bit marks the section's last chunk
//	  sealed   n    part of the section's zstd stream of entries
//
// An entry is kind, id and bytes, each preceded by its length as a varint. A chunk is sealed by
// shared/aead under the section's key; in mode off its SHA-256 (over the hash of the associated data and
// the chunk) follows it. The associated data: label, node, epoch and version, file id, the header's sum (each with
// its length), section 2, chunk number 8, last flag 1.
//
// The body of a journal's header, and what follows it:
//
//	mode       1
//	file       16
//	snapshot   16   the file id of the snapshot that it changes
//	generation 8
//
//	then frames, one a change, each written by one append and synced:
//	  length   4    of what follows the check
//	  sequence 8    0, 1, 2, …
//	  check    4    CRC-32C of length and sequence
//	  control  4+n  sealed: epoch 8, version 8, hash 32, SHA-256 of the rest of the frame 32, then
//	                kind and id of each deletion, each preceded by its length as a varint
//	  keys     2    data keys that this frame is the first to use; for each: class, scope, key as above
//	  blocks   2    for each: key number 2, length 4, sealed: 0 and entries, or 1 and their zstd frame
//
// The associated data of a journal's parts: label, node, file id, the header's sum (each with its
// length), sequence 8, block number 4 (the control part is 0).
//
// The file of keys is written whole each time. The body of its header is mode 1, file id 16 and the data key 2+n, wrapped by
// the node's own key, never by a scoped one; what follows is sealed, for each key: its id, how it was given wrapped, and the
// key itself, each preceded by its length as a varint and the last two in place of each other.
// The associated data: label, node, the header's sum.
//
// # What is promised
//
// What Replace or Append has acknowledged is read again after kill -9 or a loss of power at any moment.
// A frame that is not there to its end is an append that nobody was told of: it is dropped. Any other
// damage is found, the newest whole state that what is left leads to is used, the damaged file is set aside and the store
// written again; [Store.Report] and the log say so. A damaged snapshot that folded the journal before it costs nothing. What cannot be told: an older but whole copy of the
// folder, or a journal cut between two frames, put there by someone who can write the disk; the control
// plane finds out when the node says what it holds.
//
// A store that only lacks its key stays as it is until a new snapshot is durable: an Open with the right
// key finds it again. A folder that was removed while in use is made again by the next Replace.
//
// What was in clear is read once and sealed before Open returns, which a cold start bounds: a second for 100,000 entities.
// Nothing is in clear any more after that, the generation before and what was set aside or left unfinished included. Files
// in clear are overwritten before they are removed, as far as the disk does what it is told.
package localstore
