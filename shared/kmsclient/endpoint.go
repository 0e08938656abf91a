package kmsclient

import (
	"net/url"
	"strings"

	"github.com/keepgate/keepgate/shared/fault"
)

// maxSocketName is what fits in the address of a UNIX socket (sockaddr_un, unix(7)).
const maxSocketName = 107

// CheckEndpoint refuses what does not name a UNIX socket, and what names another one than it seems to, with
// fault.Invalid and the remedy. It does not look whether anybody listens.
//
//	unix:///run/kms.sock   a socket file
//	unix:///@name          an abstract socket of Linux, which has no owner and no mode
func CheckEndpoint(endpoint string) error {
	_, err := SocketOf(endpoint)
	return err
}

// SocketOf returns the address that an endpoint stands for, a path or "@name", and refuses what [CheckEndpoint] does.
func SocketOf(endpoint string) (string, error) {
	refuse := func(format string, args ...any) (string, error) {
		return "", fault.Newf(fault.Invalid, "kmsclient.CheckEndpoint", "", "endpoint: "+format, args...)
	}
	if endpoint == "" {
		return refuse("it is empty: write unix:///path/of/the/socket")
	}
	u, err := url.Parse(endpoint)
	if err != nil { // the error quotes the text, in which a password could be
		return refuse("it is not a URL: write unix:///path/of/the/socket")
	}
	path := u.Path
	switch {
	case u.Scheme == "" && strings.HasPrefix(path, "/"):
		return refuse("%q has no scheme: write unix://%s", endpoint, path)
	case u.Scheme != "unix":
		return refuse("the scheme is %q, and a plugin is spoken with over a UNIX socket only: write unix:///path/of/the/socket", u.Scheme)
	case u.User != nil || strings.ContainsAny(endpoint, "?#"):
		return refuse("only a path may follow unix://, and no @ before it, no ? and no # in it (write %%3F and %%23): an abstract socket is unix:///@name")
	case u.Host != "":
		return refuse("%q: what stands between // and the next / is a host, and would be dropped: write unix:///%s%s", endpoint, u.Host, path)
	case u.Opaque != "":
		return refuse("%q is a relative path: write the whole one, unix:///path/of/the/socket", endpoint)
	case path == "" || path == "/@" || strings.HasSuffix(path, "/"):
		return refuse("%q names no socket: write unix:///path/of/the/socket or unix:///@name", endpoint)
	case strings.ContainsRune(path, 0):
		return refuse("%q: a zero byte cannot be in a path", endpoint)
	case strings.HasPrefix(path, "/@"):
		path = path[1:]
	}
	if len(path) > maxSocketName {
		return refuse("the name of the socket has %d bytes, and an address holds %d: put it in a shorter path", len(path), maxSocketName)
	}
	return path, nil
}
