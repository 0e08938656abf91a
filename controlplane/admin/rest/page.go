package rest

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

const (
	defaultSize = 100
	// MaxSize is the most items of one page.
	MaxSize = 1000
)

// SizeOf reads how many items a page shall have.
func SizeOf(query url.Values) (int, error) {
	if !query.Has("size") {
		return defaultSize, nil
	}
	number, err := strconv.ParseFloat(query.Get("size"), 64)
	if err != nil {
		return 0, Coded(9, "invalid size", "size must be a number")
	}
	if number != float64(int(number)) || number < 1 || number > MaxSize {
		return 0, Coded(9, "invalid size", "size must be an integer between 1 and %d", MaxSize)
	}
	return int(number), nil
}

// AfterOf reads the id with which the page before ended, out of the offset that EncodeOffset made of it; "" on a first page.
func AfterOf(query url.Values) (string, error) {
	given := query.Get("offset")
	if given == "" {
		return "", nil
	}
	text, err := DecodeOffset(given)
	if err != nil {
		return "", Coded(7, "invalid offset", "'%s' is not a valid offset: bad base64 encoding", given)
	}
	var key []string
	if json.Unmarshal(text, &key) != nil || len(key) != 1 {
		return "", Coded(7, "invalid offset", "'%s' is not a valid offset: bad json encoding", given)
	}
	return strings.ToLower(key[0]), nil
}

// DecodeOffset reads the JSON of an offset, in either alphabet of base64 and with or without padding.
func DecodeOffset(given string) ([]byte, error) {
	given = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(given, "="))
	return base64.RawStdEncoding.DecodeString(given)
}

// EncodeOffset writes a place in a list, of strings and numbers, as clients give it back: the base64 of its JSON.
func EncodeOffset(place any) string {
	text, _ := Marshal(place) // of strings and numbers: cannot fail
	return base64.RawStdEncoding.EncodeToString(text)
}
