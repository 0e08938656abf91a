package values

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Limits of labels, Kong's for cluster_dp_labels.
const (
	MaxLabels     = 10
	MaxLabelBytes = 63
)

// Labels is a set of names and values, "region:eu,tier:edge".
type Labels map[string]string

// UnmarshalText reads the set.
func (l *Labels) UnmarshalText(text []byte) error {
	labels := Labels{}
	for entry := range strings.SplitSeq(string(text), ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		name, value, found := strings.Cut(entry, ":")
		if !found {
			return fmt.Errorf("%q is not <name>:<value>", entry)
		}
		if err := CheckLabel(name, value); err != nil {
			return err
		}
		if _, twice := labels[name]; twice {
			return fmt.Errorf("%q is given twice", name)
		}
		labels[name] = value
	}
	if len(labels) > MaxLabels {
		return errors.New("at most 10 labels")
	}
	*l = labels
	return nil
}

// CheckLabel refuses what is no label by Kong's rules.
func CheckLabel(name, value string) error {
	for _, part := range []string{name, value} {
		if len(part) > MaxLabelBytes || !labelWord(part) {
			return fmt.Errorf("%.100q is no label: at most %d lower-case letters, digits, '.', '-', '_' and ':', a letter or digit first and last", part, MaxLabelBytes)
		}
	}
	for _, reserved := range []string{"kong", "konnect", "insomnia", "mesh", "kic", "keepgate"} {
		if strings.HasPrefix(name, reserved) {
			return fmt.Errorf("names that begin with %q are reserved", reserved)
		}
	}
	return nil
}

// labelWord reports whether part is of Kong's pattern [a-z0-9]([\w.:-]*[a-z0-9])?.
func labelWord(part string) bool {
	for i := range len(part) {
		c := part[i]
		outer := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		inner := i > 0 && i < len(part)-1 && (c >= 'A' && c <= 'Z' || strings.IndexByte("_.:-", c) >= 0)
		if !outer && !inner {
			return false
		}
	}
	return part != ""
}

// String writes the set, sorted by name.
func (l Labels) String() string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(l)) {
		words = append(words, name+":"+l[name])
	}
	return strings.Join(words, ",")
}
