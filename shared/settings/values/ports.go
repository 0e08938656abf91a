package values

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// PortMaps says under which port clients know the one that is listened on, as in port_maps: "80:8000, 443:8443".
type Ports map[uint16]uint16 // the clients', by the one listened on

// UnmarshalText reads the list.
func (p *Ports) UnmarshalText(text []byte) error {
	*p = nil
	for entry := range strings.SplitSeq(string(text), ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		public, own, found := strings.Cut(entry, ":")
		from, err1 := strconv.ParseUint(public, 10, 16)
		to, err2 := strconv.ParseUint(own, 10, 16)
		if !found || err1 != nil || err2 != nil || from == 0 || to == 0 {
			return fmt.Errorf("%q is not <port that clients know>:<port listened on>", entry)
		}
		if *p == nil {
			*p = Ports{}
		}
		if before, twice := (*p)[uint16(to)]; twice && before != uint16(from) {
			return fmt.Errorf("the port %d is listed twice", to)
		}
		(*p)[uint16(to)] = uint16(from)
	}
	return nil
}

// String writes the list as it can be read again.
func (p Ports) String() string {
	var words []string
	for _, own := range slices.Sorted(maps.Keys(p)) {
		words = append(words, fmt.Sprintf("%d:%d", p[own], own))
	}
	return strings.Join(words, ", ")
}
