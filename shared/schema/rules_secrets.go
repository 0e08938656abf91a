package schema

import (
	"slices"
	"strconv"
	"strings"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
	"github.com/keepgate/keepgate/shared/schema/internal/format"
	"github.com/keepgate/keepgate/shared/vaultrule"
)

// vaultMembers are the members of a vault's configuration that each kind of vault has.
func vaultMembers(kind string) []string {
	switch kind {
	case "env":
		return []string{"prefix"}
	case "file":
		return []string{"prefix", "ttl", "neg_ttl"}
	case "hcv":
		return []string{
			"auth_method", "host", "kube_auth_path", "kube_role", "kv", "mount", "namespace", "neg_ttl", "port", "protocol", "resurrect_ttl", "token", "ttl",
		}
	}
	return nil
}

// DescribeVault returns the JSON of GET /schemas/vaults/{name}.
func (s *Schema) DescribeVault(kind string) (body []byte, found bool) {
	members := vaultMembers(kind)
	if members == nil {
		return nil, false
	}
	var fields []*Field
	for _, f := range s.tables["vaults"].Field("config").Fields {
		if slices.Contains(members, f.Name) {
			fields = append(fields, f)
		}
	}
	config := map[string]any{"type": "record", "required": true, "fields": describeFields(fields)}
	return appendTree(nil, map[string]any{"name": kind, "fields": []any{map[string]any{"config": config}}}), true
}

// vaultConfig refuses members that a vault of that kind does not have: ignored, they would promise something.
func vaultConfig() rule {
	return rule{reads: []string{"name", "config"}, check: func(_ *build, tree map[string]any, p problems) {
		kind, _ := tree["name"].(string)
		config, _ := tree["config"].(map[string]any)
		faults := problems{}
		for member, value := range config {
			if value != nil && !slices.Contains(vaultMembers(kind), member) {
				faults.field(member, "unknown field: a vault of kind "+kind+" has "+strings.Join(vaultMembers(kind), ", "))
			}
		}
		if kind == "hcv" && config["auth_method"] == "token" && isEmpty(config["token"]) {
			faults.field("token", requiredMissing)
		}
		for _, one := range vaultrule.Faults(vaultOf(kind, config)) {
			faults.field(one.Field, one.Message)
		}
		if len(faults) > 0 {
			p["config"] = map[string]any(faults)
		}
	}}
}

// vaultOf is what the configuration of a vault says.
func vaultOf(kind string, config map[string]any) vaultrule.Vault {
	text := func(member string) string {
		s, _ := config[member].(string)
		return s
	}
	return vaultrule.Vault{
		Kind: kind, Prefix: text("prefix"), Protocol: text("protocol"), Host: text("host"), Port: config["port"] != nil,
		Mount: text("mount"), AuthPath: text("kube_auth_path"), Space: text("namespace"), Token: text("token"),
	}
}

// kvmLookupSource wants the name of whatever a key is taken from by name.
func kvmLookupSource() rule {
	return rule{config: func(tree map[string]any) string {
		from, _ := tree["key_from"].(string)
		named := slices.Contains([]string{"literal", "header", "query", "path_capture"}, from)
		switch empty := isEmpty(tree["key_name"]); {
		case named && empty:
			return "key_from '" + from + "' needs key_name"
		case !named && !empty:
			return "key_from '" + from + "' takes no key_name"
		}
		if name, _ := tree["key_name"].(string); wrongSource(from, name) != "" {
			return wrongSource(from, name)
		}
		if tree["on_missing"] == "default" && isEmpty(tree["default_value"]) {
			return "on_missing 'default' needs default_value"
		}
		return ""
	}}
}

// wrongSource says why no request could ever say a key by that name.
func wrongSource(from, name string) string {
	switch from {
	case "header":
		if _, message := format.Check(schemav1.Format_FORMAT_HEADER_NAME, name); message != "" {
			return "key_name is not the name of a header"
		}
	case "path_capture":
		if number, err := strconv.Atoi(name); err == nil && number < 1 {
			return "key_name is no capture: a name, or a number from 1"
		}
	}
	return ""
}
