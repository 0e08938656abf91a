package layering

// room is one row of the plan: a package, or all that a pattern matches, and what of ours it may import.
type room struct {
	name string
	may  []string
}

// everywhere may be imported by every package.
func everywhere() []string {
	return []string{"shared/fault", "shared/secret", "shared/lifecycle", "shared/version", "proto/..."}
}

// plan is the house, from the ground up. The first row that matches a package is its row. Rows may stand
// here before their room is built.
func plan() []room {
	return []room{
		{"proto/...", nil},

		{"shared/fault", nil},
		{"shared/secret", nil},
		{"shared/secretfile", nil},
		{"shared/lifecycle", nil},
		{"shared/version", nil},
		{"shared/layering", nil},
		{"shared/durable", nil},
		{"shared/nodeid", []string{"shared/durable"}},
		{"shared/selfsigned", []string{"shared/durable", "shared/secretfile"}},
		{"shared/servercert", nil},
		{"shared/spelling", nil},
		{"shared/serverchain", nil},
		{"shared/crl", nil},
		{"shared/verifier", nil},
		{"shared/reserved", nil},
		{"shared/secretref", nil},
		{"shared/vaultrule", []string{"shared/secretref"}},
		{"shared/aead", nil},
		{"shared/nowait", nil},
		{"shared/parking", nil},
		{"shared/configset", nil},
		{"shared/licensetext", nil},
		{"shared/schema/...", []string{"shared/licensetext", "shared/reserved", "shared/schema/...", "shared/secretref", "shared/vaultrule"}},
		{"shared/plugins", []string{"shared/schema"}},
		{"shared/declarative", []string{"shared/plugins", "shared/schema", "shared/spelling"}},
		{"shared/localkeys", []string{"shared/aead"}},
		{"shared/localkeys/*", []string{"shared/aead", "shared/localkeys", "shared/secretfile"}},
		{"shared/mtls/identity", nil},
		{"shared/mtls/privatekey", []string{"shared/secretfile"}},
		{"shared/mtls/verdict", []string{"shared/mtls/identity"}},
		{"shared/mtls/trust", []string{"shared/mtls/identity", "shared/mtls/verdict"}},
		{"shared/mtls/proof", []string{"shared/mtls/identity", "shared/mtls/trust", "shared/mtls/verdict"}},
		{"shared/mtls", []string{"shared/mtls/identity", "shared/mtls/privatekey", "shared/mtls/proof", "shared/mtls/trust", "shared/mtls/verdict"}},
		{"shared/mtls/*", []string{"shared/mtls", "shared/mtls/*", "shared/nowait"}},
		{"shared/telemetry", []string{"shared/schema"}},
		{"shared/memguard", nil},
		{"shared/process", []string{"shared/memguard", "shared/settings"}},
		{"shared/enrolment", []string{"shared/mtls/identity", "shared/mtls/proof", "shared/mtls/verdict"}},
		{"shared/revocation", nil},
		{"shared/pkitest", nil},
		{"shared/settings/conffile", nil},
		{"shared/settings/values", []string{"shared/serverchain"}},
		{"shared/settings", []string{"shared/secretfile", "shared/secretref", "shared/settings/conffile", "shared/spelling"}},
		{"shared/settings/vaults", []string{"shared/secretbackend", "shared/secretref", "shared/settings", "shared/vaultclient"}},
		{"shared/settings/*", []string{"shared/settings", "shared/settings/values", "shared/settings/vaults"}},
		{"shared/kmsclient", []string{"shared/nowait"}},
		{"shared/vaultclient", []string{"shared/secretfile", "shared/serverchain", "shared/vaultrule"}},
		{"shared/vaultclient/vaulttest", nil},
		{"shared/secretbackend", []string{"shared/secretfile", "shared/vaultclient"}},

		{"controlplane/record", nil},
		{"controlplane/doctor/finding", nil},
		{"controlplane/doctor/doctorcmd", []string{"controlplane/doctor/finding", "shared/settings"}},
		{"controlplane/doctor/papers", []string{"controlplane/doctor/finding", "shared/mtls/identity", "shared/mtls/privatekey", "shared/secretfile"}},
		{"controlplane/doctor", []string{"controlplane/doctor/*", "shared/enrolment", "shared/memguard", "shared/mtls", "shared/mtls/identity", "shared/mtls/trust", "shared/mtls/verdict", "shared/secretfile"}},
		{"controlplane/store/layout", []string{"controlplane/record", "shared/schema"}},
		{"controlplane/store/storetest", []string{"controlplane/record", "controlplane/store/layout"}},
		{"controlplane/store/postgres/examine", []string{"controlplane/doctor/*", "controlplane/record", "controlplane/store/...", "shared/secretfile", "shared/serverchain"}},
		{"controlplane/store/...", []string{"controlplane/record", "controlplane/store/...", "shared/crl", "shared/secretfile", "shared/secretref", "shared/serverchain"}},
		{"controlplane/audit/heads", []string{"shared/durable"}},
		{"controlplane/audit", []string{"controlplane/audit/heads", "controlplane/record"}},
		{"controlplane/access", []string{"controlplane/record", "shared/verifier"}},
		{"controlplane/keyring", []string{"controlplane/record", "controlplane/audit", "shared/aead", "shared/durable"}},
		{"controlplane/keyring/*", []string{
			"controlplane/doctor/*", "controlplane/keyring", "controlplane/record", "controlplane/peer", "shared/aead", "shared/durable", "shared/kmsclient",
			"shared/secretfile", "shared/secretref", "shared/vaultclient",
		}},
		{"controlplane/encryption/providerconfig", []string{"shared/kmsclient", "shared/schema", "shared/secretfile"}},
		{"controlplane/encryption", []string{"controlplane/keyring", "controlplane/record", "shared/aead", "shared/kmsclient", "shared/verifier"}},
		{"controlplane/encryption/kmsv1", []string{"shared/aead", "shared/kmsclient"}},
		{"controlplane/catalog", []string{
			"controlplane/record", "controlplane/access", "controlplane/encryption",
			"shared/aead", "shared/declarative", "shared/plugins", "shared/schema", "shared/vaultrule", "shared/verifier",
		}},
		{"controlplane/reencrypt", []string{"controlplane/catalog", "controlplane/record"}},
		{"controlplane/peer", []string{"shared/aead", "shared/mtls", "shared/mtls/identity", "shared/mtls/proof", "shared/mtls/verdict"}},
		{"controlplane/peer/*", []string{"controlplane/doctor/*", "controlplane/peer", "shared/mtls", "shared/mtls/identity", "shared/mtls/privatekey", "shared/mtls/verdict", "shared/secretfile"}},
		{"controlplane/changefeed", []string{"controlplane/record"}},
		{"controlplane/fleet", []string{"controlplane/record", "shared/settings/values"}},
		{"controlplane/members", []string{"controlplane/record"}},
		{"controlplane/license", []string{"controlplane/catalog", "shared/licensetext"}},
		{"controlplane/health", []string{"shared/memguard"}},
		{"controlplane/certs", []string{"controlplane/record", "shared/durable", "shared/mtls", "shared/mtls/identity", "shared/mtls/privatekey", "shared/mtls/trust"}},
		{"controlplane/enrol/...", []string{
			"controlplane/access", "controlplane/audit", "controlplane/catalog", "controlplane/certs", "controlplane/changefeed", "controlplane/enrol/...", "controlplane/record",
			"shared/enrolment", "shared/mtls/grpccreds", "shared/mtls/identity", "shared/mtls/privatekey", "shared/mtls/trust", "shared/schema",
		}},
		{"controlplane/keks", []string{"controlplane/audit", "controlplane/catalog", "controlplane/record", "shared/aead", "shared/schema"}},
		{"controlplane/publish/selection", nil},
		{"controlplane/publish/epoch", nil},
		{"controlplane/publish/facts", []string{"controlplane/publish/selection", "controlplane/record", "shared/schema", "shared/secretref"}},
		{"controlplane/publish/wire", []string{
			"controlplane/catalog", "controlplane/publish/facts", "controlplane/publish/selection", "controlplane/record", "shared/configset", "shared/schema", "shared/verifier",
		}},
		{"controlplane/publish/versions/versionstest", nil},
		{"controlplane/publish/versions", []string{"controlplane/fleet", "shared/configset"}},
		{"controlplane/publish", []string{
			"controlplane/fleet", "controlplane/publish/epoch", "controlplane/publish/selection", "controlplane/publish/versions", "controlplane/publish/wire",
			"controlplane/record", "shared/configset", "shared/schema",
		}},
		{"controlplane/publish/stream", []string{"controlplane/fleet", "controlplane/publish/versions", "shared/configset", "shared/mtls/grpccreds", "shared/mtls/identity"}},
		{"controlplane/kmsservice", []string{"controlplane/keks", "shared/mtls/grpccreds", "shared/mtls/identity"}},
		{"controlplane/kmsplugin/...", []string{
			"controlplane/doctor/*", "controlplane/kmsplugin/...", "shared/aead", "shared/durable", "shared/kmsclient", "shared/memguard", "shared/mtls", "shared/mtls/...", "shared/nowait", "shared/process",
			"shared/settings", "shared/settings/kmssettings", "shared/settings/values", "shared/telemetry",
		}},
		{"controlplane/cmd/keepgate-kms", []string{"controlplane/kmsplugin/...", "shared/process", "shared/settings/...", "shared/telemetry"}},
		{"controlplane/admin/...", []string{
			"controlplane/access", "controlplane/admin/...", "controlplane/audit/...", "controlplane/catalog", "controlplane/encryption", "controlplane/enrol/...", "controlplane/fleet", "controlplane/keks",
			"controlplane/keyring", "controlplane/members", "controlplane/peer/...", "controlplane/record", "controlplane/reencrypt",
			"controlplane/license", "shared/declarative", "shared/memguard", "shared/plugins", "shared/schema", "shared/secretfile",
		}},
		{"controlplane/console", []string{"controlplane/access", "controlplane/catalog", "controlplane/fleet", "controlplane/keyring", "shared/schema"}},
		{"controlplane/cli/...", []string{
			"controlplane/audit/...", "controlplane/certs", "controlplane/cli/...", "controlplane/doctor/doctorcmd", "controlplane/doctor/finding", "controlplane/encryption/providerconfig", "controlplane/keyring",
			"controlplane/record", "controlplane/store/...",
			"shared/declarative", "shared/durable", "shared/enrolment", "shared/kmsclient", "shared/memguard", "shared/mtls", "shared/mtls/identity", "shared/mtls/privatekey", "shared/mtls/proof", "shared/mtls/verdict", "shared/plugins", "shared/process", "shared/schema",
			"shared/secretfile", "shared/settings/...", "shared/telemetry",
		}},
		{"controlplane/app", []string{"controlplane/...", "shared/..."}},
		{"controlplane/cmd/*", []string{"controlplane/app", "controlplane/cli", "shared/process", "shared/settings/...", "shared/telemetry"}},

		{"dataplane/exchange", []string{"shared/reserved"}},
		{"dataplane/jsonobject", []string{"dataplane/exchange"}},
		{"dataplane/plugin", []string{"dataplane/exchange", "dataplane/kvm", "shared/plugins", "shared/reserved", "shared/schema"}},
		{"dataplane/kvm", []string{"shared/secretref"}},
		{"dataplane/cachestore", []string{"shared/aead", "shared/durable", "shared/localkeys"}},
		{"dataplane/secrets", []string{"shared/secretbackend", "shared/secretref", "shared/vaultclient", "shared/vaultrule"}},
		{"dataplane/plugin/all", []string{"dataplane/cachestore", "dataplane/plugin/...", "shared/verifier"}},
		{"dataplane/plugin/plugintest", []string{"dataplane/...", "shared/..."}},
		{"dataplane/plugin/filelog", []string{"dataplane/exchange", "dataplane/logrecord", "dataplane/plugin"}},
		{"dataplane/plugin/httplog", []string{"dataplane/exchange", "dataplane/logrecord", "dataplane/plugin", "shared/serverchain"}},
		{"dataplane/plugin/kvmlookup", []string{"dataplane/exchange", "dataplane/kvm", "dataplane/plugin"}},
		{"dataplane/plugin/proxycache", []string{"dataplane/cachestore", "dataplane/exchange", "dataplane/plugin"}},
		{"dataplane/plugin/requesttransformer", []string{"dataplane/exchange", "dataplane/jsonobject", "dataplane/plugin", "shared/reserved", "shared/secretref"}},
		{"dataplane/plugin/responsetransformer", []string{"dataplane/exchange", "dataplane/jsonobject", "dataplane/plugin", "shared/reserved"}},
		{"dataplane/plugin/mtlsauth", []string{"dataplane/exchange", "dataplane/plugin", "shared/revocation"}},
		{"dataplane/plugin/*", []string{"dataplane/exchange", "dataplane/jsonobject", "dataplane/plugin", "shared/plugins", "shared/schema", "shared/verifier"}},
		{"dataplane/http1/wire", []string{"dataplane/exchange"}},
		{"dataplane/http1/...", []string{"dataplane/exchange", "dataplane/http1/...", "shared/nowait", "shared/parking"}},
		{"dataplane/http2server/hpack", []string{"dataplane/exchange"}},
		{"dataplane/http2server", []string{"dataplane/exchange", "dataplane/http1/wire", "dataplane/http2server/hpack", "shared/nowait", "shared/parking"}},
		{"dataplane/http2", []string{"dataplane/exchange", "dataplane/http1/..."}},
		{"dataplane/healthcheck", nil},
		{"dataplane/dns", nil},
		{"dataplane/balancer", []string{"dataplane/dns", "dataplane/exchange", "dataplane/healthcheck"}},
		{"dataplane/upstream", []string{"dataplane/exchange", "dataplane/http1/...", "dataplane/http2", "shared/nowait", "shared/secretfile", "shared/serverchain"}},
		{"dataplane/table", []string{"dataplane/balancer", "dataplane/exchange", "dataplane/plugin", "dataplane/upstream"}},
		{"dataplane/compile", []string{
			"dataplane/balancer", "dataplane/exchange", "dataplane/healthcheck", "dataplane/kvm", "dataplane/plugin", "dataplane/table", "dataplane/upstream",
			"shared/configset", "shared/plugins", "shared/schema", "shared/secretref", "shared/verifier",
		}},
		{"dataplane/localstore", []string{"shared/aead", "shared/configset", "shared/durable", "shared/localkeys"}},
		{"dataplane/edgekeys", []string{"dataplane/localstore", "shared/kmsclient", "shared/localkeys", "shared/localkeys/*", "shared/settings/...", "shared/vaultclient"}},
		{"dataplane/apply", []string{"dataplane/compile", "dataplane/localstore", "dataplane/table", "shared/configset", "shared/localkeys", "shared/schema"}},
		{"dataplane/tunnel", nil},
		{"dataplane/lease", []string{"shared/aead", "shared/durable"}},
		{"dataplane/enrol", []string{"shared/durable", "shared/enrolment", "shared/mtls", "shared/mtls/grpccreds", "shared/mtls/identity", "shared/mtls/privatekey", "shared/telemetry"}},
		{"dataplane/enrol/enroltest", []string{"shared/enrolment", "shared/mtls", "shared/mtls/identity", "shared/mtls/privatekey"}},
		{"dataplane/uplink", []string{"dataplane/apply", "shared/configset", "shared/mtls/grpccreds", "shared/telemetry"}},
		{"dataplane/grpcweb", []string{"dataplane/exchange"}},
		{"dataplane/proxy", []string{"dataplane/balancer", "dataplane/exchange", "dataplane/healthcheck", "dataplane/grpcweb", "dataplane/http1/client", "dataplane/plugin", "dataplane/table", "dataplane/upstream"}},
		{"dataplane/listener", []string{"dataplane/exchange", "dataplane/table", "shared/nowait", "shared/settings/values"}},
		{"dataplane/status", []string{"dataplane/balancer", "dataplane/cachestore", "dataplane/enrol", "dataplane/exchange", "dataplane/table", "shared/memguard", "shared/schema"}},
		{"dataplane/redact", []string{"dataplane/exchange"}},
		{"dataplane/accesslog", []string{"dataplane/exchange", "dataplane/redact"}},
		{"dataplane/logrecord", []string{"dataplane/exchange", "dataplane/plugin", "dataplane/redact", "shared/plugins", "shared/schema"}},
		{"dataplane/cli/...", []string{
			"dataplane/cli/...", "dataplane/edgekeys", "dataplane/enrol", "dataplane/localstore", "dataplane/tunnel", "shared/aead", "shared/configset", "shared/durable", "shared/enrolment", "shared/kmsclient", "shared/localkeys", "shared/localkeys/*", "shared/mtls", "shared/mtls/identity", "shared/mtls/privatekey", "shared/mtls/trust", "shared/plugins", "shared/process", "shared/schema", "shared/secretfile", "shared/settings/...", "shared/telemetry", "shared/vaultclient",
		}},
		{"dataplane/app", []string{"dataplane/...", "shared/..."}},
		{"dataplane/cmd/*", []string{"dataplane/app", "dataplane/cli", "shared/process", "shared/settings/...", "shared/telemetry"}},

		// Scenarios, benchmarks and the demo's pieces drive real processes and may look into both planes.
		{"deploy/...", []string{"shared/..."}},
		{"e2e/...", []string{"controlplane/...", "dataplane/...", "e2e/...", "shared/..."}},
	}
}

// reserved is an import that belongs to a few packages alone.
type reserved struct {
	imports []string // patterns
	to      []string // patterns of our packages
	why     string
}

// reservations hold for the files of binaries; tests may use anything that is not forbidden.
func reservations() []reserved {
	drivers := []string{"controlplane/store/...", "e2e/..."}
	return []reserved{
		{
			[]string{
				"crypto/aes", "crypto/cipher", "crypto/des", "crypto/rc4", "crypto/hpke", "golang.org/x/crypto/chacha20/...",
				"golang.org/x/crypto/chacha20poly1305/...", "golang.org/x/crypto/nacl/...", "golang.org/x/crypto/xts/...", "golang.org/x/crypto/salsa20/...",
			},
			[]string{"shared/aead", "controlplane/peer"},
			"encryption happens in one place: shared/aead",
		},
		{[]string{"github.com/jackc/pgx/v5/...", "modernc.org/sqlite/...", "github.com/pressly/goose/v3/...", "database/sql/..."}, drivers, "only a store speaks to a database"},
		{[]string{"github.com/nats-io/..."}, []string{"controlplane/peer/...", "e2e/..."}, "only the bus speaks to NATS"},
		{[]string{"log", "math/rand"}, nil, "use log/slog and math/rand/v2, or crypto/rand where it guards anything"},
		{[]string{"testing", "github.com/google/go-cmp/...", "pgregory.net/rapid", "go.uber.org/goleak"}, []string{"**test", "e2e/..."}, "test tools belong in tests and in packages whose name ends in test"},
		// exchange and wire view header bytes as strings without a copy: the arena outlives every view of it.
		{[]string{"unsafe"}, []string{"proto/...", "dataplane/exchange", "shared/nowait", "dataplane/http1/wire"}, "unsafe needs a reason and a line in shared/layering/table.go"},
	}
}

// forbiddenNames tell nothing about a package's duty.
func forbiddenNames() []string {
	return []string{"util", "utils", "common", "helper", "helpers", "misc", "types", "base", "lib"}
}

// maxLines is where a file stops being read in one sitting. Aim at 150.
const maxLines = 500
