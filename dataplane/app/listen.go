package app

import (
	"errors"
	"fmt"
	"syscall"
)

// notOpened says why the sockets of a setting could not be opened, and what to do about it.
func notOpened(setting string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s: %w; another program has the port; change %s", setting, err, setting)
	}
	return fmt.Errorf("%s: %w", setting, err)
}
