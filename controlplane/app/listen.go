package app

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// listen opens the socket that a setting asks for.
func listen(setting, address string) (net.Listener, error) {
	socket, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: %w; another program has the port; change %s", setting, err, setting)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	return socket, nil
}
