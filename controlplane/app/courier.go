package app

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/blob"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secretfile"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// maxPrivateFile bounds what is read as a private key, in bytes.
const maxPrivateFile = 1 << 20

// blobRetry is how long a file that was not written is left so.
const blobRetry = 5 * time.Second

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
		return "", fault.Newf(fault.Invalid, "app.Export", "keyring_public_key", "keyring_public_key is not set on this node, so there is nobody to encrypt an export to. "+
			"Exports are deprecated: with keyring_recovery_public_key the database itself keeps the keys for a recovery")
	}
	if _, held := contents.Keys[contents.Active]; !held {
		contents.Active = "" // a blob that names a key which it lacks would not open
	}
	return blob.Seal(c.public.RSA(), contents.Keys, contents.Active)
}

// Open decrypts an export with keyring_private_key.
func (c courier) Open(text string) (keyring.Contents, error) {
	if c.private.PrivateKey.Len() == 0 {
		return keyring.Contents{}, fault.Newf(fault.Invalid, "app.Import", "keyring_private_key", "keyring_private_key is not set on this node, so an export cannot be opened here")
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
		var text []byte
		if text, err = privateText(setting); err == nil {
			key, err = cluster.ParsePrivate(text)
		}
		clear(text)
	})
	if err != nil {
		return nil, fault.New(fault.Invalid, "app.Run", "keyring_private_key", err)
	}
	return key, nil
}

// privateText is PEM, which the caller clears: the setting itself, what it is base64 of, or the file that it names.
func privateText(setting []byte) ([]byte, error) {
	const begin = "-----BEGIN"
	if bytes.Contains(setting, []byte(begin)) {
		return bytes.Clone(setting), nil
	}
	decoded := make([]byte, base64.StdEncoding.DecodedLen(len(setting)))
	if n, err := base64.StdEncoding.Decode(decoded, bytes.TrimSpace(setting)); err == nil && bytes.Contains(decoded[:n], []byte(begin)) {
		return decoded[:n], nil
	}
	clear(decoded)
	data, _, err := secretfile.Read(string(setting), maxPrivateFile)
	if failed, ok := errors.AsType[*fs.PathError](err); ok { // its path may be a key that was mistyped
		err = fmt.Errorf("neither PEM, nor base64 of PEM, nor a file that can be read: %w", failed.Err)
	}
	return data, err
}

// loadBlob brings back what is missing of the ring and lies in keyring_blob_path, if this node can open it. No more
// than that: the file may be older than the database, and then it holds keys that were removed since, and names one
// that was active before.
func (p *plane) loadBlob(ctx context.Context) error {
	path := p.settings.Keyring.BlobPath
	if path == "" || p.ring == nil {
		return nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		p.blobRead = true
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
	p.blobRead = true
	loaded := []string{}
	for _, key := range p.ring.Status().Keys {
		material, found := contents.Keys[key.ID]
		if !found || key.State != "missing" {
			continue
		}
		if err := p.ring.ImportRaw(ctx, key.ID, material); err != nil {
			p.log.Warn("a key of keyring_blob_path was not loaded", "file", path, "key", key.ID, "error", err)
			continue
		}
		loaded = append(loaded, key.ID)
	}
	p.log.Info("keyring: keys were loaded from keyring_blob_path", "file", path, "keys", loaded)
	return nil
}

// keepBlob writes keyring_blob_path anew whenever the ring has changed.
func (p *plane) keepBlob(ctx context.Context) error {
	for {
		changed := p.ring.Changed()
		var again <-chan time.Time
		if err := p.writeBlob(ctx); err != nil && ctx.Err() == nil {
			p.log.Error("keyring_blob_path was not written; it is tried again", "error", err)
			again = time.After(blobRetry)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-again:
		}
	}
}

// writeBlob leaves the file alone while what is missing may be in it alone.
func (p *plane) writeBlob(ctx context.Context) error {
	switch p.ring.Status().State {
	case "ready":
	case "incomplete":
		if !p.blobRead {
			return nil
		}
	default:
		return nil
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
