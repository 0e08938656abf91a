package settings

import (
	"fmt"
	"strings"
)

// Help is what --help says about the settings: how they are given, then each with its default.
func Help(into any) (string, error) {
	fields, err := fieldsOf(into)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	text.WriteString(`Settings, each as a line "key = value" of the settings file, as a variable KEEPGATE_<KEY>, or as a flag
--<key> with dashes for underscores. Flags are stronger than variables, variables than the file. KONG_<KEY>
variables and a kong.conf are read too. Secrets are best kept in a file of their own, <key>_file, or in a
vault: {vault://env/…}, {vault://file/…} or {vault://hcv/…} (vault_*).
`)
	section := "-"
	for _, f := range fields {
		if f.section != section {
			section = f.section
			fmt.Fprintf(&text, "\n%s:\n", heading(section))
		}
		fmt.Fprintf(&text, "  %s (%s)\n      %s\n", f.key, f.describe(), f.help)
	}
	return text.String(), nil
}

// Markdown is the reference page's table of a struct's settings.
func Markdown(into any) (string, error) {
	fields, err := fieldsOf(into)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	section := "-"
	for _, f := range fields {
		if f.section != section {
			section = f.section
			fmt.Fprintf(&text, "\n### %s\n\n| key | values | default | meaning |\n|---|---|---|---|\n", heading(section))
		}
		fallback, help := "", f.help
		if f.fallback != "" {
			fallback = "`" + f.fallback + "`"
		}
		if f.kind == kindSecret {
			help += " Best given as a file: `" + f.fileKey() + "`"
			if !f.literal {
				help += ", or as a [reference](secret-references.md#settings)"
			}
			help += "."
		}
		if len(f.aliases) > 0 {
			help += " Also read as `" + strings.Join(f.aliases, "`, `") + "`."
		}
		fmt.Fprintf(&text, "| `%s` | %s | %s | %s |\n", f.key, strings.ReplaceAll(f.values(), "|", `\|`), fallback, help)
	}
	return text.String(), nil
}

func heading(section string) string {
	if section == "" {
		return "General"
	}
	return section
}

// values says what can be written.
func (f *field) values() string {
	switch {
	case len(f.oneOf) > 0:
		return strings.Join(f.oneOf, " | ")
	case f.kind == kindDuration:
		return "duration" + f.bounds() + "; a bare number counts in " + f.unit
	case f.kind == kindNumber:
		return "number" + f.bounds()
	case f.kind == kindCustom:
		return strings.ToLower(f.value.Type().Name())
	case f.path != "":
		return strings.Replace(string(f.kind), string(kindText), "path", 1)
	}
	return string(f.kind)
}

func (f *field) describe() string {
	if f.fallback == "" {
		return f.values()
	}
	return f.values() + "; default " + f.fallback
}
