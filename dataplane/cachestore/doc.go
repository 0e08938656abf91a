// Package cachestore keeps responses for the plugin proxy-cache: in memory, and sealed on the data plane's own disk.
//
// It knows values as bytes with a name, a time after which they are of no use, and labels that purges find them by. What a
// response is, and whether it may be kept or used, is the plugin's business; which keys seal is decided by [Keys]. Nothing that
// happens to the disk is an error for those who ask: what cannot be read is a miss, and what cannot be written is not kept.
//
// # Memory
//
// The least recently used give way, by exact weight. With a disk the memory is its front: what is found there is held here too.
// A memory of 0 bytes keeps nothing, and every hit is read from the disk and opened.
//
// # Disk
//
// Values are appended to segments and found by an index in memory, about 70 bytes a value, that is made of the segments' records
// when the disk is opened. The oldest segment goes when there is no room; what of it was used since it was written is written
// again, up to a quarter of a segment. A disk that fails is left alone and tried again, after pauses that grow. Nothing is synced: bytes that a crash has taken do not open, and are a miss.
//
// Integers are big-endian; frozen by testdata/golden.
//
//	lock                held by flock while a process has the folder
//	segment-<16 hex>    values; the digits are its number: later ones are newer
//	purges              which purges were done, replaced whole and durably
//
// Segments and purges begin with a header:
//
//	magic    8    "KGCASG1\n" or "KGCAPU1\n"
//	suite    1    1 aes-256-gcm, 2 chacha20-poly1305
//	file     16   random id of the file
//	number   8    of the segment; 0 in purges
//	length   2    of the wrapped key
//	wrapped  n    the file's data key (shared/localkeys, class cache, the node's environment)
//	key      n    the key that seals what follows, sealed by the data key: AES-256-GCM with random nonces, fit for the few
//	              messages of one file and quick to change from file to file, or XChaCha20-Poly1305
//
// What follows is bound to label, node, the SHA-256 of the header before the sealed key, and its own place. In a segment, records:
//
//	head     sealed, bound to 1 and its offset 8: name 32, labels 3×4, expires 8, purges 8, length of the value 4
//	value    sealed, bound to 2, the offset of its record 8, and the name
//
// Purges is one sealed message, bound to 3: the number of purges 8, then for each: its number 8, and its id, workspace, plugin and
// key, each preceded by its length as 2 bytes.
//
// # Purges
//
// A purge is a mark with an id. [Cache.Hold] does what was not done yet, and says so in purges before it returns. Each value on
// the disk bears the number of purges that were done when it was written, so that a value which a purge has taken does not come back
// when the segments are read again. Without a purges file that opens nobody knows, and all segments go.
package cachestore
