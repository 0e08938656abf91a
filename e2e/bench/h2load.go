package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// loadCase is one kind of request, as h2load (nghttp2) makes it from one thread.
type loadCase struct {
	name        string
	over        wireKind
	path        string
	headers     []string
	body        string // a file; with one the method is POST
	connections int
	streams     int // of each connection at a time
}

// wireKind is which port of a proxy is spoken to, and how.
type wireKind int

const (
	clear1 wireKind = iota // HTTP/1.1 in clear
	tls1                   // HTTP/1.1 over TLS 1.3
	tls2                   // HTTP/2 over TLS 1.3
	clear2                 // HTTP/2 in clear, for gRPC
)

var (
	answered = regexp.MustCompile(`status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx`)
	broken   = regexp.MustCompile(`(\d+) failed, (\d+) errored, (\d+) timeout`)
	finished = regexp.MustCompile(`finished in ([0-9.]+)(ms|s)`)
	cipher   = regexp.MustCompile(`Cipher: (\S+)`)
)

// h2load sends so many requests of a case to an address, all of which must be answered with 200, and returns how long
// that took and which cipher was spoken. It counts requests, since it does not end by time with HTTP/1.1.
func (b *bench) h2load(c loadCase, to netip.AddrPort, requests int) (took time.Duration, suite string) {
	scheme := "http"
	args := []string{
		"-c", strconv.Itoa(restCore), "h2load", "-t1", "-c", strconv.Itoa(c.connections), "-n", strconv.Itoa(requests),
		"-H", "user-agent: bench",
	}
	if c.over == tls1 || c.over == tls2 {
		scheme = "https"
		args = append(args, "--tls13-ciphers=TLS_AES_128_GCM_SHA256") // the same work for everyone
	}
	if c.over == clear1 || c.over == tls1 {
		args = append(args, "--h1")
	} else {
		args = append(args, "-m", strconv.Itoa(c.streams))
	}
	if c.body != "" {
		args = append(args, "-d", c.body)
	}
	for _, header := range c.headers {
		args = append(args, "-H", header)
	}
	args = append(args, fmt.Sprintf("%s://%s%s", scheme, to, c.path))
	command := exec.Command("taskset", args...)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Run(); err != nil {
		b.Fatalf("h2load (install it with: make deps): %v\n%s", err, output.Bytes())
	}
	counts, ends, lasted := answered.FindSubmatch(output.Bytes()), broken.FindSubmatch(output.Bytes()), finished.FindSubmatch(output.Bytes())
	if counts == nil || ends == nil || lasted == nil {
		b.Fatalf("h2load said %s", output.Bytes())
	}
	if atoi(counts[1]) != float64(requests) || atoi(counts[2])+atoi(counts[3])+atoi(counts[4])+atoi(ends[1])+atoi(ends[2]) > 0 {
		b.Fatalf("%s at %s: %s, %s", c.name, to, counts[0], ends[0])
	}
	seconds, err := strconv.ParseFloat(string(lasted[1]), 64)
	if err != nil {
		b.Fatalf("h2load said %s", lasted[0])
	}
	if string(lasted[2]) == "ms" {
		seconds /= 1000
	}
	if found := cipher.FindSubmatch(output.Bytes()); found != nil {
		suite = string(found[1])
	}
	return time.Duration(seconds * float64(time.Second)), suite
}

func atoi(digits []byte) float64 {
	n, err := strconv.ParseFloat(string(digits), 64)
	if err != nil {
		return 0 // the pattern lets digits alone through
	}
	return n
}
