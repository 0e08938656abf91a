package schema_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
)

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, got, "", " "); err != nil {
		t.Fatalf("%s is no JSON: %v\n%s", name, err, got)
	}
	pretty.WriteByte('\n')
	path := "testdata/" + name + ".json"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, pretty.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), pretty.String()); diff != "" {
		t.Errorf("%s (-want +got), UPDATE_GOLDEN=1 writes it anew:\n%s", path, diff)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	s := newSchema()
	for _, e := range s.Entities() {
		body, found := s.Describe(e.Table)
		if found == e.Internal {
			t.Errorf("%s: internal %t, described %t", e.Table, e.Internal, found)
		}
		if found {
			golden(t, "schema."+e.Table, body)
		}
	}
	for _, name := range s.Plugins() {
		body, _ := s.DescribePlugin(name)
		golden(t, "schema.plugin."+name, body)
	}
	if _, found := s.Describe("nope"); found {
		t.Error("an unknown table is described")
	}
	if _, found := s.DescribePlugin("nope"); found {
		t.Error("an unknown plugin is described")
	}
}

// TestStoredForms pins what lies in databases: one row of every entity, every field set that can be.
func TestStoredForms(t *testing.T) {
	t.Parallel()
	const id, ref = `"id":"` + someID + `",`, `{"id":"` + otherID + `"}`
	bodies := map[string]string{
		"services": `"name":"s","host":"h","protocol":"https","path":"/p","client_certificate":` + ref + `,"tls_verify":true,
			"tls_verify_depth":2,"ca_certificates":["` + otherID + `"],"tags":["a"],"retries":null`,
		"routes": `"name":"r","service":` + ref + `,"protocols":["https"],"methods":["GET"],"hosts":["*.a.com"],"paths":["/a","~/b"],
			"headers":{"x-a":["1","2"]},"snis":["a.com"],"tags":[]`,
		"consumers": `"username":"u","custom_id":"c"`,
		"plugins":   `"name":"request-termination","instance_name":"i","route":` + ref + `,"config":{"message":"m"}`,
		"upstreams": `"name":"u","hash_on":"header","hash_on_header":"x","host_header":"a:80","client_certificate":` + ref + `,
			"healthchecks":{"active":{"https_sni":"a.com","headers":{"a":["b"]},"timeout":1.5}}`,
		"targets":                  `"target":"a","upstream":` + ref,
		"certificates":             `"cert":"{vault://aa/b}","key":"{vault://aa/c}","snis":["a.com"]`,
		"snis":                     `"name":"*.a.com","certificate":` + ref,
		"basicauth_credentials":    `"username":"u","password":"p","consumer":` + ref,
		"keyauth_credentials":      `"key":"k","ttl":60,"consumer":` + ref,
		"jwt_secrets":              `"key":"k","secret":"s","consumer":` + ref,
		"acls":                     `"group":"g","consumer":` + ref,
		"mtls_auth_credentials":    `"subject_name":"s","ca_certificate":` + ref + `,"consumer":` + ref,
		"consumer_groups":          `"name":"g"`,
		"consumer_group_consumers": `"consumer_group":` + ref + `,"consumer":` + ref,
		"workspaces":               `"name":"w","comment":"c","config":{"a":"b"},"meta":{}`,
		"environments":             `"name":"e","comment":"c","workspaces":["default","w"],"select_tags":[],"tags":["a"]`,
		"licenses":                 `"payload":"{\"license\":{\"payload\":{}}}"`,
		"rbac_users":               `"name":"u","comment":"c","authority":"{}","token_hash":"` + strings.Repeat("0a", 32) + `"`,
		"cluster_trust":            `"name":"cluster","document":"{}"`,
		"enrolments":               `"identity":"prod/edge-1","document":"{}"`,
		"join_tokens":              `"token_hash":"` + strings.Repeat("0a", 32) + `","document":"{}"`,
		"keks":                     `"name":"k","document":"{}"`,
		"vaults":                   `"name":"hcv","prefix":"my-hcv","config":{"auth_method":"token","token":"t","host":"vault.example","kv":"v2"}`,
		"cache_purges":             `"plugin":` + ref + `,"cache_key":"` + strings.Repeat("0a", 32) + `"`,
		"key_value_maps":           `"name":"m","service":` + ref,
		"key_value_entries":        `"map":` + ref + `,"key":"k","value":"v"`,
	}
	s := newSchema()
	for _, e := range s.Entities() {
		body, found := bodies[e.Table]
		if !found {
			if e.Table != "ca_certificates" { // needs a certificate: pinned where one is made
				t.Errorf("no row of %s is pinned", e.Table)
			}
			continue
		}
		synctest.Test(t, func(t *testing.T) { // rows hold the time
			m := insert(t, s, e.Table, "{"+id+body+"}")
			golden(t, "stored."+e.Table, s.EncodeStored(e, m))
			storesExactly(t, s, e, m)
		})
	}
}

// TestSecretNamesAreMarked: a field named like a secret is encrypted or says why it need not be.
func TestSecretNamesAreMarked(t *testing.T) {
	t.Parallel()
	suspicious := regexp.MustCompile(`(?i)(key|password|passwd|secret|token|credential|private|passphrase|jwk|pem|hmac)`)
	packages := []protoreflect.FullName{"keepgate.config.v1", "keepgate.plugin.v1"}
	checked := 0
	protoregistry.GlobalTypes.RangeMessages(func(typ protoreflect.MessageType) bool {
		d := typ.Descriptor()
		if !slices.Contains(packages, d.ParentFile().Package()) {
			return true
		}
		for i := range d.Fields().Len() {
			fd := d.Fields().Get(i)
			if !suspicious.MatchString(string(fd.Name())) || fd.ContainingMessage().IsMapEntry() {
				continue
			}
			checked++
			marks, _ := proto.GetExtension(fd.Options(), schemav1.E_Field).(*schemav1.Field)
			if !marks.GetEncrypted() && marks.GetPublicReason() == "" {
				t.Errorf("%s is named like a secret: mark it encrypted, or give its public_reason", fd.FullName())
			}
		}
		return true
	})
	if checked < 8 {
		t.Errorf("only %d fields were looked at", checked)
	}
}

// TestEncryptedFieldsAreFound holds the list of what is sealed, so that none is lost by an edit.
func TestEncryptedFieldsAreFound(t *testing.T) {
	t.Parallel()
	var got []string
	for _, e := range newSchema().Entities() {
		for _, f := range e.Sealed {
			got = append(got, e.Table+"."+f.Path)
		}
	}
	want := []string{
		"certificates.key", "certificates.key_alt", "cluster_trust.document", "enrolments.document", "environments.fingerprint_key", "environments.previous_fingerprint_key",
		"join_tokens.token_hash", "join_tokens.document", "keks.document", "licenses.payload",
		"rbac_users.token_hash", "rbac_users.authority",
		"basicauth_credentials.password", "basicauth_credentials.password_check", "jwt_secrets.secret", "keyauth_credentials.key",
		"key_value_entries.value",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sealed columns (-want +got):\n%s", diff)
	}
}

func TestParentsComeFirst(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, e := range newSchema().Entities() {
		for _, f := range e.Foreign {
			if !seen[f.Table] {
				t.Errorf("%s comes before its parent %s", e.Table, f.Table)
			}
		}
		seen[e.Table] = true
	}
	if len(seen) != 28 {
		t.Errorf("%d entities, want 28", len(seen))
	}
	if e := newSchema().EntityOf(&schemav1.Field{}); e != nil {
		t.Errorf("a message that is no entity is one of %s", e.Table)
	}
}
