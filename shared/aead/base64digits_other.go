//go:build !amd64

package aead

const hasBlocks = false

func encodeBlocks([]byte, []byte) {}

func decodeBlocks([]byte, string) bool { return false }
