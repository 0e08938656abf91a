package verifier

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/shared/fault"
)

var (
	errNoHash = errors.New("neither a PHC string of argon2id or PBKDF2 nor Kong's 40 hex digits")

	// base64 of PHC strings: standard alphabet, no padding, no stray bits, so that a hash has one text.
	base64Text = base64.RawStdEncoding.Strict()
)

// ParseHash reads a hash. It fails with fault.Invalid when text is none or its parameters lie outside
// the bounds; the fault never quotes text.
func ParseHash(text string) (Hash, error) {
	h, err := parseHash(text)
	if err != nil {
		return Hash{}, fault.New(fault.Invalid, "verifier.ParseHash", "", err)
	}
	return h, nil
}

func parseHash(text string) (h Hash, err error) {
	if isKongSHA1(text) {
		tag, err := hex.DecodeString(text)
		return Hash{Scheme: KongSHA1, tag: tag}, err
	}
	members := strings.Split(text, "$")
	if len(text) > maxHashText || len(members) < 5 || members[0] != "" {
		return Hash{}, errNoHash
	}
	rest := members[2:]
	switch members[1] {
	case "argon2id":
		if rest[0] != "v=19" {
			return Hash{}, errors.New("argon2id of another version than 19")
		}
		rest = rest[1:]
		h.Scheme = Argon2id
	case "pbkdf2-sha256":
		h.Scheme = PBKDF2SHA256
	case "pbkdf2-sha512":
		h.Scheme = PBKDF2SHA512
	default:
		return Hash{}, errNoHash
	}
	if len(rest) != 3 {
		return Hash{}, errNoHash
	}
	if h.salt, err = decode("salt", rest[1], MinSaltBytes, MaxSaltBytes); err != nil {
		return Hash{}, err
	}
	if h.tag, err = decode("tag", rest[2], MinTagBytes, MaxTagBytes); err != nil {
		return Hash{}, err
	}
	if h.Scheme == Argon2id {
		return h, h.parseArgon2(rest[0])
	}
	return h, h.parsePBKDF2(rest[0])
}

func (h *Hash) parseArgon2(parameters string) error {
	p := strings.Split(parameters, ",")
	if len(p) != 3 {
		return errors.New("argon2id takes the parameters m, t and p, in this order")
	}
	lanes, err := number("p", p[2], 1, MaxLanes)
	if err != nil {
		return err
	}
	passes, err := number("t", p[1], 1, MaxPasses)
	if err != nil {
		return err
	}
	memory, err := number("m", p[0], 8*lanes, MaxMemoryKiB) // RFC 9106 §3.1: at least 8 KiB a lane
	if err != nil {
		return err
	}
	h.memory, h.passes, h.lanes = uint32(memory), uint32(passes), uint8(lanes)
	return nil
}

func (h *Hash) parsePBKDF2(parameters string) (err error) {
	first, second, both := strings.Cut(parameters, ",")
	if h.iterations, err = number("i", first, MinIterations, MaxIterations); err != nil || !both {
		return err
	}
	_, err = number("l", second, len(h.tag), len(h.tag))
	return err
}

// text is the inverse of parseHash for PHC strings, without the optional l.
func (h Hash) text() string {
	salt, tag := base64Text.EncodeToString(h.salt), base64Text.EncodeToString(h.tag)
	switch h.Scheme {
	case Argon2id:
		return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", h.memory, h.passes, h.lanes, salt, tag)
	case PBKDF2SHA512:
		return fmt.Sprintf("$pbkdf2-sha512$i=%d$%s$%s", h.iterations, salt, tag)
	case PBKDF2SHA256:
		return fmt.Sprintf("$pbkdf2-sha256$i=%d$%s$%s", h.iterations, salt, tag)
	}
	return hex.EncodeToString(h.tag)
}

// number reads "name=value" in plain decimal between low and high.
func number(name, text string, low, high int) (int, error) {
	digits, ok := strings.CutPrefix(text, name+"=")
	if !ok {
		return 0, fmt.Errorf("parameter %s is not where it belongs", name)
	}
	value, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || strconv.FormatUint(value, 10) != digits {
		return 0, fmt.Errorf("parameter %s is no plain number", name)
	}
	if value < uint64(low) || value > uint64(high) {
		return 0, fmt.Errorf("parameter %s is not between %d and %d", name, low, high)
	}
	return int(value), nil
}

func decode(name, text string, low, high int) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") { // encoding/base64 skips them
		return nil, fmt.Errorf("%s is not base64", name)
	}
	data, err := base64Text.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not base64 without padding", name)
	}
	if len(data) < low || len(data) > high {
		return nil, fmt.Errorf("%s has %d bytes, not between %d and %d", name, len(data), low, high)
	}
	return data, nil
}
