package plugin

// Protocols are some of the protocols that a gate serves requests over.
type Protocols uint8

// The protocols.
const (
	HTTP Protocols = 1 << iota
	HTTPS
	GRPC
	GRPCS
	allProtocols = HTTP | HTTPS | GRPC | GRPCS
)

// ParseProtocols reads the field `protocols` of a plugin or a route. None named means all; those that are not for requests
// count for nothing.
func ParseProtocols(names []string) Protocols {
	if len(names) == 0 {
		return allProtocols
	}
	var p Protocols
	for _, name := range names {
		switch name {
		case "http":
			p |= HTTP
		case "https":
			p |= HTTPS
		case "grpc":
			p |= GRPC
		case "grpcs":
			p |= GRPCS
		}
	}
	return p
}
