package aead

import "golang.org/x/sys/cpu"

// hasBlocks: the processor reads and writes 32 digits at once.
var hasBlocks = cpu.X86.HasAVX2

// encodeBlocks writes 32 digits for each 24 bytes of src until dst is full. It reads up to four bytes beyond those.
//
//go:noescape
func encodeBlocks(dst, src []byte)

// decodeBlocks writes 24 bytes for each 32 digits of src, and four beyond. What it wrote counts when all were digits.
//
//go:noescape
func decodeBlocks(dst []byte, src string) (ok bool)
