package scopedkeys

import (
	"bytes"
	"regexp"
)

// mend finds slips that YAML takes for something else or for nothing at all, notes them, and returns the text as it was
// meant, line for line, so that the rest of its faults can be told as well.
func mend(p *Problems, file string, text []byte) []byte {
	const names = `org|env|envs|defaults|name|kmsEncryptionKey|kvmEncryptionKey|contractEncryptionKey|cacheEncryptionKey`
	noSpace := regexp.MustCompile(`^(\s*(?:- +)?)(` + names + `):([^\s].*)$`)
	noColon := regexp.MustCompile(`^(\s*)(org|env|envs|defaults)(\s*(?:#.*)?)$`)
	lines := bytes.Split(text, []byte("\n"))
	for i, line := range lines {
		at := place{file: file, line: i + 1}
		line = bytes.TrimRight(line, "\r")
		if m := noSpace.FindSubmatch(line); m != nil {
			at.field = string(m[2])
			p.add(at, "a space is missing after the colon: write %s: …", m[2])
			lines[i] = bytes.Join([][]byte{m[1], m[2], []byte(": "), m[3]}, nil)
		} else if m := noColon.FindSubmatch(line); m != nil {
			at.field = string(m[2])
			p.add(at, "its colon is missing: write %s:", m[2])
			lines[i] = bytes.Join([][]byte{m[1], m[2], []byte(":"), m[3]}, nil)
		}
	}
	return bytes.Join(lines, []byte("\n"))
}
