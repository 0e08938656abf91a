package process

import (
	"os"
	"regexp"
	"strings"
)

// maxWarnings bounds how many lines of the log start shows.
const maxWarnings = 5

// logLength is how much the log holds now.
func (p Place) logLength() int64 {
	info, err := os.Stat(p.LogFile())
	if err != nil {
		return 0
	}
	return info.Size()
}

// warningsSince lists the first warnings that the program wrote after the log had the given length.
func (p Place) warningsSince(written int64) (lines []string) {
	warns := regexp.MustCompile(`(^|\s)level=(warn|error|crit|alert|emerg)\s|"level":"(warn|error|crit|alert|emerg)"`) // in either log format
	for line := range strings.Lines(p.logSince(written)) {
		if line = strings.TrimSpace(line); !warns.MatchString(line) {
			continue
		}
		if len(lines) == maxWarnings {
			return append(lines, "… and more in "+p.LogFile())
		}
		lines = append(lines, line)
	}
	return lines
}
