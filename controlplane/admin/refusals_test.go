package admin_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const protocolChoices = "expected one of: grpc, grpcs, http, https, tcp, tls, tls_passthrough, udp"

// TestRefusalsSpeakKong compares whole bodies with those that Kong 3.8 documents and its sources give.
func TestRefusalsSpeakKong(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	const absent = "0e2d49d0-7e5c-4b3d-8b0a-3b3cbd0f6b11"
	service := id(e.made("/services", "name=s&url=http://h/p"))
	e.made("/services/s/routes", "name=r&paths[]=/a")
	e.made("/consumers", "username=dup")
	e.made("/services/s/plugins", "name=basic-auth")
	tests := map[string]struct {
		method, path, body string
		status             int
		want               string
	}{
		"field missing": {"POST", "/services", "{}", 400, `{"code":2,"name":"schema violation","fields":{"host":"required field missing"},
			"message":"schema violation (host: required field missing)"}`},
		"at least one": {"POST", "/consumers", "{}", 400, `{"code":2,"name":"schema violation",
			"fields":{"@entity":["at least one of these fields must be non-empty: 'custom_id', 'username'"]},
			"message":"schema violation (at least one of these fields must be non-empty: 'custom_id', 'username')"}`},
		"choice": {"POST", "/services", "host=h&protocol=foo", 400, `{"code":2,"name":"schema violation","fields":{"protocol":"` + protocolChoices + `"},
			"message":"schema violation (protocol: ` + protocolChoices + `)"}`},
		"choice in a set": {"POST", "/routes", "paths[]=/a&protocols[]=foo", 400, `{"code":2,"name":"schema violation",
			"fields":{"protocols":["` + protocolChoices + `"]},"message":"schema violation (protocols.1: ` + protocolChoices + `)"}`},
		"foreign name": {"POST", "/routes", "paths[]=/a&service.name=nope", 400, `{"code":13,"name":"foreign keys unresolved",
			"fields":{"service":{"name":"the foreign key cannot be resolved with '{name=\"nope\"}' for an existing 'services' entity"}},
			"message":"foreign key unresolved (service.name: the foreign key cannot be resolved with '{name=\"nope\"}' for an existing 'services' entity)"}`},
		"foreign id": {"POST", "/routes", `{"paths":["/a"],"service":{"id":"` + absent + `"}}`, 400, `{"code":4,"name":"foreign key violation",
			"fields":{"service":{"id":"` + absent + `"}},
			"message":"the foreign key '{id=\"` + absent + `\"}' does not reference an existing 'services' entity."}`},
		"referenced": {"DELETE", "/services/s", "", 400, `{"code":4,"name":"foreign key violation","fields":{"@referenced_by":"routes"},
			"message":"an existing 'routes' entity references this 'services' entity"}`},
		"unique": {"POST", "/consumers", "username=dup", 409, `{"code":5,"name":"unique constraint violation","fields":{"username":"dup"},
			"message":"UNIQUE violation detected on '{username=\"dup\"}'"}`},
		"unique together": {"POST", "/services/s/plugins", "name=basic-auth", 409, `{"code":5,"name":"unique constraint violation",
			"fields":{"consumer":null,"name":"basic-auth","route":null,"service":{"id":"` + service + `"}},
			"message":"UNIQUE violation detected on '{consumer=null,name=\"basic-auth\",route=null,service={id=\"` + service + `\"}}'"}`},
		"id in use": {"POST", "/services", `{"id":"` + service + `","host":"h"}`, 400, `{"code":3,"name":"primary key violation",
			"fields":{"id":"` + service + `"},"message":"primary key violation on key '{id=\"` + service + `\"}'"}`},
		"plugin": {"POST", "/plugins", "name=nope", 400, `{"code":2,"name":"schema violation",
			"fields":{"name":"plugin 'nope' not enabled; GET / lists the plugins there are"},
			"message":"schema violation (name: plugin 'nope' not enabled; GET / lists the plugins there are)"}`},
		"patch absent id": {"PATCH", "/services/" + absent, "host=h", 404, `{"code":6,"name":"not found","fields":{"id":"` + absent + `"},
			"message":"could not find the entity with primary key '{id=\"` + absent + `\"}'"}`},
		"patch absent name": {"PATCH", "/services/nope", "host=h", 404, `{"code":6,"name":"not found","fields":{"name":"nope"},
			"message":"could not find the entity with '{name=\"nope\"}'"}`},
		"get absent":     {"GET", "/services/nope", "", 404, `{"message":"Not found"}`},
		"unknown path":   {"GET", "/nope", "", 404, `{"message":"Not found"}`},
		"targets":        {"GET", "/targets", "", 404, `{"message":"Not found"}`},
		"sni's cert":     {"GET", "/snis/x.com/certificate", "", 404, `{"message":"Not found"}`},
		"wrong method":   {"DELETE", "/services", "", 405, `{"message":"Method not allowed"}`},
		"delete parent":  {"DELETE", "/routes/r/service", "", 405, `{"message":"Method not allowed"}`},
		"size text":      {"GET", "/services?size=x", "", 400, `{"code":9,"name":"invalid size","message":"size must be a number"}`},
		"size 0":         {"GET", "/services?size=0", "", 400, `{"code":9,"name":"invalid size","message":"size must be an integer between 1 and 1000"}`},
		"size 1001":      {"GET", "/services?size=1001", "", 400, `{"code":9,"name":"invalid size","message":"size must be an integer between 1 and 1000"}`},
		"offset":         {"GET", "/services?offset=x", "", 400, `{"code":7,"name":"invalid offset","message":"'x' is not a valid offset: bad base64 encoding"}`},
		"tags mixed":     {"GET", "/services?tags=a,b/c", "", 400, `{"code":11,"name":"invalid options","options":{"tags":"invalid filter syntax"},"message":"invalid option (tags: invalid filter syntax)"}`},
		"tags empty":     {"GET", "/services?tags=", "", 400, `{"code":11,"name":"invalid options","options":{"tags":"cannot be null"},"message":"invalid option (tags: cannot be null)"}`},
		"json":           {"POST", "/services", "{nope", 400, `{"message":"Cannot parse JSON body"}`},
		"schema entity":  {"GET", "/schemas/x", "", 404, `{"message":"No entity named 'x'"}`},
		"schema plugin":  {"GET", "/schemas/plugins/x", "", 404, `{"message":"No plugin named 'x'"}`},
		"schema vault":   {"GET", "/schemas/vaults/x", "", 404, `{"message":"No vault named 'x'"}`},
		"parent absent":  {"GET", "/services/nope/routes", "", 404, `{"message":"Not found"}`},
		"child of other": {"DELETE", "/services/s/routes/nope", "", 404, `{"message":"Not found"}`},
		"config record": {"PATCH", "/plugins/PLUGIN", "config=bar", 400, `{"code":2,"name":"schema violation","fields":{"config":"expected a record"},
			"message":"schema violation (config: expected a record)"}`},
		"arguments": {"POST", "/services", "host=h" + strings.Repeat("&a=1", 1000), 400, `{"message":"Too many arguments"}`},
	}
	list := e.get("/services/s/plugins").tree(t)
	plugin := id(list["data"].([]any)[0].(map[string]any))
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := e.do(test.method, strings.Replace(test.path, "PLUGIN", plugin, 1), bodyType(test.body), test.body)
			if a.status != test.status {
				t.Errorf("status %d, want %d", a.status, test.status)
			}
			var got, want any
			if err := json.Unmarshal([]byte(a.text), &got); err != nil {
				t.Fatalf("%q: %v", a.text, err)
			}
			if err := json.Unmarshal([]byte(test.want), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBodiesOfOtherTypes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for name, contentType := range map[string]string{"none": "", "text": "text/plain", "broken": "a/b;;=", "yaml": yamlType} {
		if a := e.do("POST", "/services", contentType, "host=h"); a.status != http.StatusUnsupportedMediaType || a.text != "" {
			t.Errorf("%s: %d %q, want 415 and no body", name, a.status, a.text)
		}
	}
	if a := e.do("POST", "/consumers", "", ""); a.status != http.StatusBadRequest || !strings.Contains(a.text, `"code":2`) {
		t.Errorf("no body: %d %s, want it taken as {}", a.status, a.text)
	}
	if a := e.do("GET", "/services", jsonType, "{nope"); a.status != http.StatusOK {
		t.Errorf("GET with a malformed body: %d, want it ignored", a.status)
	}
	if a := e.do("POST", "/services", jsonType, `{"host":"`+strings.Repeat("x", 11<<20)+`"}`); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("11 MiB: %d, want 413", a.status)
	}
}
