package rbac

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/keepgate/keepgate/controlplane/access"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secretfile"
)

// firstID is the first user's, so that of two nodes that make one only one does.
func firstID() string { return uuid.NewSHA1(space(), []byte("the first user")).String() }

// Begin looks, at a start, whether there is any user. Where there is none, it leaves a token in a file of mode 0600
// that makes the first one, a super-admin, and is worth nothing afterwards.
func (c *Control) Begin(ctx context.Context) error {
	if c.options.FirstFile == "" {
		return nil
	}
	page, err := c.catalog.List(ctx, catalog.Query{Table: tableUsers, Size: 1})
	if err != nil {
		return err
	}
	if len(page.Entities) > 0 || len(page.Undecryptable) > 0 {
		return c.dropFile()
	}
	token, err := firstToken(c.options.FirstFile)
	if err != nil {
		return fault.Newf(fault.Invalid, "rbac.Begin", "rbac_first_token_file", "%s: %w", c.options.FirstFile, err)
	}
	c.mu.Lock()
	c.first = hashOf(token)
	c.mu.Unlock()
	c.options.Log.Warn("enforce_rbac is on and there is no user yet: POST /rbac/users with the token in this file makes the first one, a super-admin, once",
		"file", c.options.FirstFile)
	return nil
}

// useFirst takes the one-time token while there is no user. Another node's token may have made one.
func (c *Control) useFirst(ctx context.Context) (access.Caller, error) {
	page, err := c.catalog.List(ctx, catalog.Query{Table: tableUsers, Size: 1})
	if err != nil {
		return access.Caller{}, err
	}
	if len(page.Entities) > 0 || len(page.Undecryptable) > 0 {
		c.endFirst()
		return access.Caller{}, errUnknown
	}
	return access.First(), nil
}

func (c *Control) isFirst(sum hash) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return same(sum, c.first)
}

// endFirst makes the one-time token worthless.
func (c *Control) endFirst() {
	c.mu.Lock()
	c.first = hash{}
	c.mu.Unlock()
	if err := c.dropFile(); err != nil {
		c.options.Log.Warn("the file of the one-time token is still there; what it holds is worth nothing any more", "error", err)
	}
}

func (c *Control) dropFile() error {
	if err := os.Remove(c.options.FirstFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Internal, "rbac.first", "rbac_first_token_file", err)
	}
	return nil
}

const maxFirst = 4096

// firstToken reads the token of an earlier start that nobody used, or makes one.
func firstToken(path string) (string, error) {
	data, _, err := secretfile.Read(path, maxFirst) // made by an earlier start, with mode 0600
	if errors.Is(err, fs.ErrNotExist) {
		return makeFirst(path)
	}
	token := string(bytes.TrimSpace(data))
	if err == nil && !access.LooksLikeToken(token) {
		err = errors.New("it holds no token; remove it and start again")
	}
	return token, err
}

func makeFirst(path string) (string, error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".first-token-*") // mode 0600
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	token := access.NewToken()
	_, err = file.WriteString(token + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return "", err
	}
	return token, os.Rename(file.Name(), path)
}
