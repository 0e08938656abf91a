package secretbackend

import (
	"context"
	"strings"

	"github.com/keepgate/keepgate/shared/fault"
)

// env reads environment variables.
type env struct {
	prefix string
	look   func(string) (string, bool)
}

// Variables reads the environment variables that begin with a prefix, which is not empty. What configures Keepgate's own programs is
// never given. look is as [os.LookupEnv].
func Variables(prefix string, look func(string) (string, bool)) Backend { return env{prefix, look} }

// Variable is the name of the variable of a secret: upper case, with an underscore for a dash.
func Variable(prefix, name string) string { return prefix + Upper(name) }

// variable is that name, and whether references may lead to it.
func (e env) variable(name string) (string, bool) {
	for _, c := range []byte(name) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return "", false
		}
	}
	variable := Variable(e.prefix, name)
	return variable, name != "" && !strings.HasPrefix(variable, "KEEPGATE_") && !strings.HasPrefix(variable, "KONG_")
}

// Upper is a name, or the beginning of one, as it stands in variables.
func Upper(name string) string { return strings.ReplaceAll(strings.ToUpper(name), "-", "_") }

// Read implements [Backend].
func (e env) Read(_ context.Context, name string, version int, fields []string) (map[string]Field, error) {
	if version != 0 {
		return nil, failed(fault.Invalid, "variables have no versions")
	}
	variable, ok := e.variable(name)
	if !ok {
		return nil, failed(fault.NotFound, "no name of a variable that can be referred to")
	}
	text, ok := e.look(variable)
	if !ok {
		return nil, failed(fault.NotFound, "there is no such variable")
	}
	return fieldsOf([]byte(text), fields), nil
}

// Close implements [Backend].
func (env) Close() {}
