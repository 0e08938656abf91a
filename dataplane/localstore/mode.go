package localstore

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
)

// Mode is how files are sealed: the setting declarative_config_encryption_mode.
type Mode string

const (
	AES256GCM        Mode = "aes-256-gcm"
	ChaCha20Poly1305 Mode = "chacha20-poly1305"
	Off              Mode = "off" // plaintext; checksums still find damage, but anyone can make them
)

// ParseMode reads the setting; "on" means the default, aes-256-gcm.
func ParseMode(text string) (Mode, error) {
	switch m := Mode(text); m {
	case "on":
		return AES256GCM, nil
	case AES256GCM, ChaCha20Poly1305, Off:
		return m, nil
	}
	return "", fault.Newf(fault.Invalid, "localstore.ParseMode", "declarative_config_encryption_mode",
		"must be aes-256-gcm (or on), chacha20-poly1305 or off")
}

// modeCodes are the byte in a file's header.
var modeCodes = [...]Mode{0: Off, 1: AES256GCM, 2: ChaCha20Poly1305}

func (m Mode) code() byte {
	for code, mode := range modeCodes {
		if mode == m {
			return byte(code)
		}
	}
	return 0xff // never written: Open refuses unknown modes
}

func (m Mode) suite() aead.Suite {
	if m == ChaCha20Poly1305 {
		return aead.ChaCha20Poly1305
	}
	return aead.AES256GCM
}

// box seals pieces of a file: with a data key, or in mode off by a checksum over the same.
type box struct{ key *aead.Key }

var errBox = errors.New("a piece does not verify")

// newBox makes a box for a section of a new file; wrapped is empty in mode off.
func (o Options) newBox(section localkeys.Section, file fileID) (b box, wrapped []byte, err error) {
	if o.Mode == Off {
		return box{}, nil, nil
	}
	b.key, wrapped, err = o.Keys.NewDataKey(o.Mode.suite(), section, string(file[:]))
	return b, wrapped, err
}

// openBox finds the box of a section again.
func (o Options) openBox(mode Mode, section localkeys.Section, file fileID, wrapped []byte) (b box, stale bool, err error) {
	switch {
	case mode == Off && len(wrapped) == 0:
		return box{}, false, nil
	case mode == Off:
		return box{}, false, errors.New("a plain section has a key")
	case o.Keys == nil:
		return box{}, false, fault.Newf(fault.Unavailable, "localstore.Open", string(mode), "the file is sealed and there are no keys")
	}
	b.key, stale, err = o.Keys.OpenDataKey(mode.suite(), section, string(file[:]), wrapped)
	return b, stale, err
}

func (b box) overhead() int {
	if b.key == nil {
		return sha256.Size
	}
	return aead.Overhead
}

func (b box) seal(dst, plaintext, associated []byte) []byte {
	if b.key != nil {
		return b.key.Seal(dst, plaintext, associated)
	}
	sum := checksum(plaintext, associated)
	return append(append(dst, plaintext...), sum[:]...)
}

// open appends what was sealed to dst.
func (b box) open(dst, sealed, associated []byte) ([]byte, error) {
	if b.key != nil {
		return b.key.Open(dst, sealed, associated)
	}
	if len(sealed) < sha256.Size {
		return nil, errBox
	}
	plaintext := sealed[:len(sealed)-sha256.Size]
	sum := checksum(plaintext, associated)
	if subtle.ConstantTimeCompare(sum[:], sealed[len(plaintext):]) != 1 {
		return nil, errBox
	}
	return append(dst, plaintext...), nil
}

func checksum(plaintext, associated []byte) (sum [sha256.Size]byte) {
	digest := sha256.New()
	first := sha256.Sum256(associated)
	digest.Write(first[:])
	digest.Write(plaintext)
	digest.Sum(sum[:0])
	return sum
}
