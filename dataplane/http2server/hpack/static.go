package hpack

// staticNames and staticValues are the static table, RFC 7541 Appendix A; index 0 is not used.
var staticNames = [...]string{
	"", ":authority", ":method", ":method", ":path", ":path", ":scheme", ":scheme", ":status", ":status", ":status", ":status", ":status", ":status", ":status",
	"accept-charset", "accept-encoding", "accept-language", "accept-ranges", "accept", "access-control-allow-origin", "age", "allow", "authorization",
	"cache-control", "content-disposition", "content-encoding", "content-language", "content-length", "content-location", "content-range", "content-type",
	"cookie", "date", "etag", "expect", "expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since",
	"last-modified", "link", "location", "max-forwards", "proxy-authenticate", "proxy-authorization", "range", "referer", "refresh", "retry-after", "server",
	"set-cookie", "strict-transport-security", "transfer-encoding", "user-agent", "vary", "via", "www-authenticate",
}

var staticValues = [len(staticNames)]string{
	2: "GET", 3: "POST", 4: "/", 5: "/index.html", 6: "http", 7: "https", 8: "200", 9: "204", 10: "206", 11: "304", 12: "400", 13: "404", 14: "500", 16: "gzip, deflate",
}

// nameIndex finds the names of the table that responses have, those of one length together.
var nameIndex = func() (t [32][]uint8) {
	for i := len(staticNames) - 1; i >= 15; i-- {
		n := len(staticNames[i])
		t[n] = append(t[n], uint8(i))
	}
	return t
}()
