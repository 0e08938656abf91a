package declarative

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// scalar writes a value so that every YAML reader, also one of version 1.1, reads the same value.
func scalar(v any) *yaml.Node {
	node := &yaml.Node{Kind: yaml.ScalarNode}
	switch v := v.(type) {
	case nil:
		node.Tag, node.Value = "!!null", "null"
	case bool:
		node.Tag, node.Value = "!!bool", strconv.FormatBool(v)
	case int64:
		node.Tag, node.Value = "!!int", strconv.FormatInt(v, 10)
	case float64:
		node.Tag, node.Value = "!!float", strconv.FormatFloat(v, 'f', -1, 64)
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			node.Tag, node.Value = "!!int", strconv.FormatFloat(v, 'f', -1, 64)
		}
	case json.Number:
		node.Tag, node.Value = "!!float", v.String()
		if !strings.ContainsAny(v.String(), ".eE") {
			node.Tag = "!!int"
		}
	case string:
		node.Tag, node.Value, node.Style = "!!str", v, stringStyle(v)
	}
	return node
}

// stringStyle leaves only what can be nothing else than a string without quotes.
func stringStyle(s string) yaml.Style {
	switch {
	case isBlock(s):
		return yaml.LiteralStyle
	case !isWord(s):
		return yaml.DoubleQuotedStyle
	}
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return yaml.DoubleQuotedStyle
	}
	return 0
}

// isWord says whether s is a letter, "_" or "/", followed by letters, digits and harmless signs.
func isWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		first := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '/'
		if !first && (i == 0 || (c < '0' || c > '9') && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// isBlock says whether s, a PEM text for one, can be written line by line: printable ASCII in several lines,
// none of which is blank or begins or ends with a space.
func isBlock(s string) bool {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	if len(lines) < 2 {
		return false
	}
	for _, line := range lines {
		if line == "" || strings.TrimSpace(line) != line {
			return false
		}
		for i := range len(line) {
			if line[i] < ' ' || line[i] > '~' {
				return false
			}
		}
	}
	return true
}
