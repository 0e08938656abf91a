// Package nodeid keeps the name by which an installation is known among others: a random UUID in a file. It is a
// label; what a node may do is its certificate's to say.
package nodeid

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/google/uuid"

	"github.com/keepgate/keepgate/shared/durable"
)

// Load reads the id at path, and makes one at the first start.
func Load(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		id := uuid.NewString()
		return id, durable.Replace(path, 0o644, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, id)
			return err
		})
	}
	if err != nil {
		return "", fmt.Errorf("reading the node's id: %w", err)
	}
	id, err := uuid.Parse(strings.TrimSpace(string(text)))
	if err != nil {
		return "", fmt.Errorf("%s holds no UUID; remove it to be given a new one: %w", path, err)
	}
	return id.String(), nil
}
