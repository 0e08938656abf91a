package app

import (
	"context"
	"crypto/rsa"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/blob"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// maxBlobFile bounds what is read as an exported keyring, in bytes.
const maxBlobFile = 1 << 20

// courier gives an exported keyring its form, by Kong's deprecated key pair. The private key is read when it is
// needed and not kept.
type courier struct {
	public  *cluster.RecoveryKey // nil: keyring_public_key is not set
	private cpsettings.Keyring
}

// newCourier reads and checks what the settings name.
func newCourier(s cpsettings.Keyring) (courier, error) {
	c := courier{private: s}
	var err error
	if c.public, err = cluster.LoadRecoveryKey(s.PublicKey); err != nil {
		return c, fault.New(fault.Invalid, "app.Run", "keyring_public_key", errors.Unwrap(err))
	}
	if s.PrivateKey.Len() > 0 {
		if _, err := c.open(); err != nil {
			return c, err
		}
	}
	if s.BlobPath != "" && c.public == nil {
		return c, fault.Newf(fault.Invalid, "app.Run", "keyring_blob_path", "it is encrypted to keyring_public_key: set that too")
	}
	return c, nil
}

// warn says at a start what is not to be relied on for long.
func (c courier) warn(log *slog.Logger) {
	if c.public != nil || c.private.PrivateKey.Len() > 0 {
		log.Warn("keyring_public_key, keyring_private_key and exports by them are deprecated: set keyring_recovery_public_key, " +
			"so that the database keeps every key for a recovery and no private key lies on a node")
	}
}

// Seal encrypts keys to keyring_public_key.
func (c courier) Seal(contents keyring.Contents) (string, error) {
	if c.public == nil {
		return "", fault.Newf(fault.Invalid, "app.Export", "keyring_public_key", "it is not set, so there is nobody to encrypt an export to. "+
			"Exports are deprecated: with keyring_recovery_public_key the database itself keeps the keys for a recovery")
	}
	return blob.Seal(c.public.RSA(), contents.Keys, contents.Active)
}

// Open decrypts an export with keyring_private_key.
func (c courier) Open(text string) (keyring.Contents, error) {
	if c.private.PrivateKey.Len() == 0 {
		return keyring.Contents{}, fault.Newf(fault.Invalid, "app.Import", "keyring_private_key", "it is not set on this node, so an export cannot be opened here")
	}
	private, err := c.open()
	if err != nil {
		return keyring.Contents{}, err
	}
	keys, active, err := blob.Open(private, text)
	return keyring.Contents{Keys: keys, Active: active}, err
}

func (c courier) open() (key *rsa.PrivateKey, err error) {
	c.private.PrivateKey.Reveal(func(setting []byte) {
		text := setting
		if !strings.Contains(string(setting), "-----BEGIN") {
			if text, err = readPrivate(string(setting)); err != nil {
				return
			}
			defer clear(text)
		}
		key, err = cluster.ParsePrivate(text)
	})
	if err != nil {
		return nil, fault.New(fault.Invalid, "app.Run", "keyring_private_key", err)
	}
	return key, nil
}

// readPrivate reads a private key's file, which nobody but its owner may read.
func readPrivate(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); !info.Mode().IsRegular() || mode&0o077 != 0 {
		return nil, fault.Newf(fault.Invalid, "app.Run", path, "mode %04o lets others read it; run: chmod 400 %s", mode, path)
	}
	return io.ReadAll(io.LimitReader(file, maxBlobFile))
}

// loadBlob brings back the keys of keyring_blob_path, if there is one that this node can open.
func (p *plane) loadBlob(ctx context.Context) error {
	path := p.settings.Keyring.BlobPath
	if path == "" || p.ring == nil {
		return nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Invalid, "app.Run", "keyring_blob_path", err)
	}
	contents, err := p.courier.Open(string(text))
	if err != nil {
		p.log.Warn("the keys of keyring_blob_path were not loaded", "file", path, "error", err)
		return nil
	}
	defer contents.Wipe()
	result, err := p.ring.Import(ctx, contents)
	if err != nil {
		return err
	}
	p.log.Info("keyring: keys were loaded from keyring_blob_path", "file", path, "keys", result.Imported, "not_imported", result.Reasons)
	return nil
}

// keepBlob writes keyring_blob_path anew whenever the ring has changed.
func (p *plane) keepBlob(ctx context.Context) error {
	for {
		changed := p.ring.Changed()
		if err := p.writeBlob(ctx); err != nil && ctx.Err() == nil {
			p.log.Error("keyring_blob_path was not written", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (p *plane) writeBlob(ctx context.Context) error {
	if p.ring.Status().State != "ready" {
		return nil // what is missing may be in the file alone
	}
	contents, err := p.ring.Export(ctx)
	if err != nil {
		return err
	}
	defer contents.Wipe()
	text, err := p.courier.Seal(contents)
	if err != nil {
		return err
	}
	return durable.Replace(p.settings.Keyring.BlobPath, 0o600, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}
