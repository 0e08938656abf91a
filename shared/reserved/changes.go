package reserved

import (
	"fmt"
	"slices"
	"strings"
)

// Changes are what a transformer does to headers, by their names.
type Changes struct {
	Read    []string // removed, or given another name
	Renamed []string // what they are named then
	Replace []string // given another value where they are there
	Set     []string // added or appended
}

// OfRequest says what of it no gate does to a request: headers may be removed and read, but what the gateway says of a message's shape
// and of who the client is would be another's word. The host may be replaced.
func (c Changes) OfRequest() string {
	host := func(name string) bool { return strings.EqualFold(name, "host") }
	return c.wrong(slices.DeleteFunc(slices.Clone(c.Replace), host), Header)
}

// OfResponse says what of it no gate does to a response, of which the gateway writes the shape alone.
func (c Changes) OfResponse() string { return c.wrong(c.Replace, Frames) }

func (c Changes) wrong(replaced []string, own func(string) bool) string {
	for _, name := range slices.Concat(c.Read, c.Renamed, c.Replace, c.Set) {
		if !Name(name) {
			return fmt.Sprintf("'%s' is not the name of a header", name)
		}
	}
	for _, name := range slices.Concat(c.Renamed, replaced, c.Set) {
		if own(name) {
			return fmt.Sprintf("the header '%s' is the gateway's own to write", name)
		}
	}
	return ""
}

// Cut cuts an entry of a transformer, name:value, at its first colons: Kong takes any number of them for one.
func Cut(entry string) (name, value string) {
	name, value, _ = strings.Cut(entry, ":")
	return name, strings.TrimLeft(value, ":")
}
