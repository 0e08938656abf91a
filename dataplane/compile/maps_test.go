package compile_test

import (
	"fmt"
	"testing"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

// What a changed entry of a map costs, beside a changed credential of as many.
func BenchmarkChanged(b *testing.B) {
	const many = 100_000
	for name, put := range map[string]func(c config, i int, value string){
		"credential": func(c config, i int, value string) {
			id := fmt.Sprintf("k%06d", i)
			c.put(b, "keyauth_credentials", id, &configv1.KeyauthCredential{Id: &id, Consumer: &configv1.Ref{Id: "al"}, Fingerprints: []string{fmt.Sprintf("%064x", i)}, Tags: &configv1.StringSet{Values: []string{value}}})
		},
		"entry": func(c config, i int, value string) {
			id := fmt.Sprintf("e%06d", i)
			c.put(b, "key_value_entries", id, &configv1.KeyValueEntry{Id: &id, Map: &configv1.Ref{Id: "m"}, Key: new(fmt.Sprint("key ", i)), Value: &value})
		},
	} {
		b.Run(name, func(b *testing.B) {
			c := config{}
			c.put(b, "consumers", "al", &configv1.Consumer{Id: new("al"), Username: new("al")})
			c.put(b, "fingerprint_keys", "f", &configv1.FingerprintKey{Id: "f", Key: make([]byte, 32)})
			c.put(b, "key_value_maps", "m", &configv1.KeyValueMap{Id: new("m"), Name: new("m")})
			c.put(b, "plugins", "auth", &configv1.Plugin{Name: new("key-auth"), Config: marshal(b, &pluginv1.KeyAuth{KeyNames: &configv1.StringArray{Values: []string{"apikey"}}})})
			c.put(b, "plugins", "lookup", &configv1.Plugin{Name: new("kvm-lookup"), Config: marshal(b, &pluginv1.KvmLookup{
				Map: new("m"), Header: new("x-a"), KeyFrom: new("literal"), KeyName: new("k"), OnMissing: new("skip"),
			})})
			c.put(b, "plugins", "refers", &configv1.Plugin{Name: new("request-transformer"), Config: marshal(b, &pluginv1.RequestTransformer{
				Add: &pluginv1.TransformedRequest{Headers: &configv1.StringArray{Values: []string{"x-b:{kvm://m/key%201}"}}},
			})})
			for i := range many {
				put(c, i, "value")
			}
			compiler := newCompiler()
			if _, quarantined := compiler.Compile(c.all); name == "entry" && len(quarantined) > 0 {
				b.Fatal(quarantined[0])
			}
			n := 0
			for b.Loop() {
				n++
				put(c, n%many, fmt.Sprint("value ", n))
				compiler.Compile(c.all)
			}
		})
	}
}
