package harness

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Memory searches what the process has in its memory for a secret in any of its forms ([Traces]), and says where one
// was found, "" where none was. Searching nothing is a fault.
func (p *Process) Memory(secret string) (where string) {
	p.cluster.T.Helper()
	where, searched, err := searchMemory(p.Pid(), secret)
	if err == nil && searched == 0 {
		err = fmt.Errorf("no memory of it can be read")
	}
	if err != nil {
		p.cluster.T.Fatalf("searching the memory of %s: %v", p.Name, err)
	}
	return where
}

func searchMemory(pid int, secret string) (where string, searched int64, err error) {
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return "", 0, err
	}
	defer maps.Close()
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return "", 0, err
	}
	defer memory.Close()
	traces := Traces(secret)
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		from, to, ok := writable(lines.Text())
		if !ok {
			continue
		}
		n, found := searchRange(memory, from, to, traces)
		if searched += n; found != "" {
			return found + " in " + lines.Text(), searched, nil
		}
	}
	return "", searched, lines.Err()
}

// writable reads a line of proc(5)'s maps. What is not writable is the program itself.
func writable(line string) (from, to int64, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 2 || !strings.HasPrefix(fields[1], "rw") {
		return 0, 0, false
	}
	first, last, _ := strings.Cut(fields[0], "-")
	from, err := strconv.ParseInt(first, 16, 64)
	if err != nil {
		return 0, 0, false
	}
	to, err = strconv.ParseInt(last, 16, 64)
	return from, to, err == nil
}

// searchRange reads on behind what was never touched, and overlaps what it reads, so that nothing falls between.
func searchRange(memory io.ReaderAt, from, to int64, traces map[string][]byte) (searched int64, found string) {
	const step, overlap = 1 << 20, 4 << 10
	buffer := make([]byte, step+overlap)
	for at := from; at < to; at += step {
		n, _ := memory.ReadAt(buffer[:min(int64(len(buffer)), to-at)], at)
		searched += int64(n)
		for form, trace := range traces {
			if bytes.Contains(buffer[:n], trace) {
				return searched, form
			}
		}
	}
	return searched, ""
}
