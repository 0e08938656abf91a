package exchange

// Rewritten is what the upstream gets instead of the client's own words, where a plugin wants that; "" leaves them. The
// client's stay in Request: engines frame the answer by its Method, and routes, logs and limits speak of its Path.
type Rewritten struct {
	Method string
	// Path is normalised (see [Normalise]) and the whole path: nothing of the route is cut off, nothing of the service put before it.
	Path string
	// Secret says that no log may show Path.
	Secret bool
	// Host is the authority: a host and an optional port.
	Host string
	// Looked is what was looked up by something that the request says, and is told in a header; it may be of one client alone.
	Looked string
}
