package declarative_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/keepgate/keepgate/shared/declarative"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

const header = "_format_version: \"3.0\"\n"

func parse(t *testing.T, text string) (*declarative.File, error) {
	t.Helper()
	return declarative.Parse(schema.New(plugins.All()), "kg.yaml", []byte(text))
}

func TestNestingIsFlattenedParentsFirst(t *testing.T) {
	t.Parallel()
	file, err := parse(t, header+`
_info:
  select_tags: [team-a]
  defaults: {service: {retries: 2}}
_comment: anything
_plugin_configs:
  named: {key_names: [a], key_in_body: true}
services:
- name: svc1
  url: http://example.com:8080/base
  _comment: this too
  routes:
  - name: r1
    paths: [/a]
    plugins:
    - name: key-auth
      _config: named
      config: {key_names: [b]}
routes:
- {name: r2, paths: [/b], service: {name: svc1}, tags: [own, team-a]}
- {name: r3, paths: [/c], service: svc1}
upstreams:
- {name: up1, targets: [{target: 10.0.0.1}]}
consumers:
- username: bob
  keyauth_credentials: [{key: k1}, {key: k2}]
plugins:
- {name: request-termination, consumer: bob, service: svc1}
`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	ids := map[string]string{}
	for _, e := range file.Entities {
		got = append(got, e.Table+" "+e.Path)
		ids[e.Path] = e.ID
		if !e.Derived {
			t.Errorf("%s has no id in the file, but Derived is false", e.Path)
		}
		if e.Document["id"] != e.ID {
			t.Errorf("%s: the document has id %v, the entity %s", e.Path, e.Document["id"], e.ID)
		}
	}
	want := []string{
		"consumers consumers[0]", "keyauth_credentials consumers[0].keyauth_credentials[0]",
		"keyauth_credentials consumers[0].keyauth_credentials[1]", "services services[0]", "upstreams upstreams[0]",
		"routes services[0].routes[0]", "routes routes[0]", "routes routes[1]", "targets upstreams[0].targets[0]",
		"plugins services[0].routes[0].plugins[0]", "plugins plugins[0]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("entities (-want +got):\n%s", diff)
	}
	service := map[string]any{"id": ids["services[0]"]}
	checks := map[string]any{
		"tags of r2":     cmp.Diff([]any{"own", "team-a"}, file.Entities[6].Document["tags"]),
		"service of r1":  cmp.Diff(service, file.Entities[5].Document["service"]),
		"service of r3":  cmp.Diff(service, file.Entities[7].Document["service"]),
		"config":         cmp.Diff(map[string]any{"key_names": []any{"b"}, "key_in_body": true}, file.Entities[9].Document["config"]),
		"default":        cmp.Diff(any(int64(2)), file.Entities[3].Document["retries"]),
		"consumer of p0": cmp.Diff(map[string]any{"id": ids["consumers[0]"]}, file.Entities[10].Document["consumer"]),
	}
	for what, diff := range checks {
		if diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	if line := file.Entities[3].Line; line != 10 {
		t.Errorf("the service is on line %d, want 10", line)
	}
	if !file.Transform || file.FormatVersion != "3.0" || !cmp.Equal(file.SelectTags, []string{"team-a"}) {
		t.Errorf("options = %+v", file)
	}
}

// TestIDsAreKongs pins the derivation: UUIDv5 of the key in the table's name space.
func TestIDsAreKongs(t *testing.T) {
	t.Parallel()
	table := func(name string) uuid.UUID {
		return uuid.NewSHA1(uuid.MustParse("fd02801f-0957-4a15-a55a-c8d9606f30b5"), []byte(name))
	}
	file, err := parse(t, header+`
services: [{name: svc1, host: h}]
upstreams: [{name: up1, targets: [{target: "10.0.0.1:80"}]}]
consumers: [{custom_id: c1}, {username: bob, keyauth_credentials: [{key: weak}]}]
plugins: [{name: key-auth, service: svc1}, {name: basic-auth, instance_name: mine}]
routes: [{paths: [/a]}, {paths: [/a]}]
`)
	if err != nil {
		t.Fatal(err)
	}
	service := uuid.NewSHA1(table("services"), []byte("svc1")).String()
	upstream := uuid.NewSHA1(table("upstreams"), []byte("up1")).String()
	bob := uuid.NewSHA1(table("consumers"), []byte("bob")).String()
	want := map[string]string{
		"services[0]":                         service,
		"upstreams[0]":                        upstream,
		"upstreams[0].targets[0]":             uuid.NewSHA1(table("targets"), []byte("10.0.0.1:80:"+upstream)).String(),
		"consumers[0]":                        uuid.NewSHA1(table("consumers"), []byte("c1")).String(),
		"consumers[1]":                        bob,
		"consumers[1].keyauth_credentials[0]": uuid.NewSHA1(table("keyauth_credentials"), []byte(bob+":#1")).String(),
		"plugins[0]":                          uuid.NewSHA1(table("plugins"), []byte("key-auth::"+service+":")).String(),
		"plugins[1]":                          uuid.NewSHA1(table("plugins"), []byte("mine")).String(),
	}
	seen := map[string]bool{}
	for _, e := range file.Entities {
		if id, pinned := want[e.Path]; pinned && id != e.ID {
			t.Errorf("%s has id %s, want %s", e.Path, e.ID, id)
		}
		if seen[e.ID] {
			t.Errorf("%s: id %s is there twice", e.Path, e.ID)
		}
		seen[e.ID] = true
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want string // the whole error
	}{
		"empty":              {"", "kg.yaml:1: expected a declarative configuration"},
		"a list":             {"- a", "kg.yaml:1: expected a declarative configuration"},
		"no version":         {"services: []", "kg.yaml:1: _format_version: required field missing"},
		"unknown version":    {"_format_version: '4.0'", "kg.yaml:1: _format_version: expected one of: 1.1, 2.1, 3.0"},
		"bad YAML":           {header + "services: [", "kg.yaml:2: cannot parse: did not find expected node content"},
		"a tab in YAML":      {header + "services:\n- name: s\n\thost: h\n", "kg.yaml:4: cannot parse: found a tab character that violates indentation; tabs cannot indent YAML"},
		"bad JSON":           {"{\n\"_format_version\": \"3.0\",\n\"services\": [}", "kg.yaml:3: cannot parse: invalid character '}' looking for beginning of value"},
		"JSON, wrong field":  {"{\"_format_version\": \"3.0\",\n\"services\": [\n\n{\"host\": \"h\",\n\"prt\": 1}]}", "kg.yaml:5: services[0].prt: unknown field; did you mean 'port'?"},
		"JSON, same key":     {"{\"_format_version\": \"3.0\",\n\"services\": [{\"host\": \"h\",\n\"host\": \"i\"}]}", "kg.yaml:3: services[0].host: the key is there twice"},
		"two documents":      {header + "---\n" + header, "kg.yaml:2: expected one document, found another after it"},
		"unknown top":        {header + "servces: []", "kg.yaml:2: servces: unknown field; did you mean 'services'?"},
		"not ours":           {header + "keys: []", "kg.yaml:2: keys: not supported in this file"},
		"workspace rows":     {header + "workspaces: []", "kg.yaml:2: workspaces: not supported in this file"},
		"not a list":         {header + "services: {}", "kg.yaml:2: services: expected an array"},
		"not a record":       {header + "services: [1]", "kg.yaml:2: services[0]: expected a record"},
		"transform":          {header + "_transform: maybe", "kg.yaml:2: _transform: expected a boolean"},
		"missing field":      {header + "services:\n- name: a", "kg.yaml:3: services[0].host: required field missing"},
		"nested field":       {header + "upstreams:\n- name: a\n  healthchecks:\n    active:\n      timeout: -1", "kg.yaml:6: upstreams[0].healthchecks.active.timeout: value should be between 0 and 65535"},
		"element":            {header + "routes:\n- paths:\n  - /a\n  - b", "kg.yaml:5: routes[0].paths[1]: should start with: / (fixed path) or ~/ (regex path)"},
		"dangling":           {header + "routes:\n- paths: [/]\n  service: foo", "kg.yaml:4: routes[0].service: invalid reference 'service: foo' (no such entry in 'services')"},
		"dangling by name":   {header + "routes:\n- paths: [/]\n  service: {name: foo}", "kg.yaml:4: routes[0].service: invalid reference 'service: foo' (no such entry in 'services')"},
		"name twice":         {header + "services:\n- {name: x, host: a}\n- {name: x, host: b}", "kg.yaml:4: services[1]: uniqueness violation: 'services' entity with name set to 'x' already declared"},
		"id twice":           {header + "services:\n- {id: c0ffee00-0000-4000-8000-000000000001, host: a}\n- {id: C0FFEE00-0000-4000-8000-000000000001, host: b}", "kg.yaml:4: services[1]: uniqueness violation: 'services' entity with primary key set to 'c0ffee00-0000-4000-8000-000000000001' already declared"},
		"plugin twice":       {header + "plugins: [{name: key-auth}]\nservices:\n- {name: x, host: a, plugins: [{name: key-auth}, {name: key-auth}]}", "kg.yaml:4: services[0].plugins[1]: uniqueness violation: 'plugins' entity with name set to 'key-auth', route set to null, service set to '"},
		"key twice":          {header + "consumers:\n- username: a\n  keyauth_credentials:\n  - key: hunter2\n  - key: hunter2", "kg.yaml:6: consumers[0].keyauth_credentials[1]: uniqueness violation: 'keyauth_credentials' entity with this key already declared"},
		"parent and nesting": {header + "services:\n- host: a\n  routes:\n  - paths: [/]\n    service: x", "kg.yaml:6: services[0].routes[0].service: is already given by what this entry stands below"},
		"own field":          {header + "consumers:\n- username: a\n  basicauth_credentials:\n  - {username: a, password: b, password_check: c}", "kg.yaml:5: consumers[0].basicauth_credentials[0].password_check: unknown field"},
		"merge of a scalar":  {header + "services:\n- <<: 1\n  host: a", "kg.yaml:3: services[0]: expected a map to merge"},
		"alias in itself":    {header + "_comment: &a [*a]", "kg.yaml:2: _comment[0][0]: the alias contains itself"},
		"binary":             {header + "services:\n- host: !!binary aGk=", "kg.yaml:3: services[0].host: a value of type !!binary is not supported"},
		"no such _config":    {header + "plugins:\n- name: key-auth\n  _config: x", "kg.yaml:4: plugins[0]._config: no such entry in '_plugin_configs': 'x'"},
		"number for string":  {header + "consumers:\n- username: 12", "kg.yaml:3: consumers[0].username: expected a string"},
		"unknown group":      {header + "consumers:\n- username: a\n  groups:\n  - name: gold", "kg.yaml:5: consumers[0].groups[0].consumer_group: invalid reference 'consumer_group: gold' (no such entry in 'consumer_groups')"},
		"unknown consumer":   {header + "consumer_groups:\n- {name: gold, consumers: [bob]}", "kg.yaml:3: consumer_groups[0].consumers[0].consumer: invalid reference 'consumer: bob' (no such entry in 'consumers')"},
		"groups of a word":   {header + "consumers:\n- {username: a, groups: gold}", "kg.yaml:3: consumers[0].groups: expected an array"},
		"a group of numbers": {header + "consumers:\n- {username: a, groups: [1]}", "kg.yaml:3: consumers[0].groups[0]: expected a string or a record"},
		"a group of nothing": {header + "consumers:\n- {username: a, groups: [{}]}", "kg.yaml:3: consumers[0].groups[0]: at least one of these fields must be non-empty: 'id', 'name'"},
		"a group by kind":    {header + "consumers:\n- {username: a, groups: [{nam: gold}]}", "kg.yaml:3: consumers[0].groups[0].nam: unknown field; did you mean 'name'?"},
		"a member twice":     {header + "consumers: [{username: a}]\nconsumer_groups: [{name: g}]\nconsumer_group_consumers:\n- {consumer: a, consumer_group: g}\n- {id: c0ffee00-0000-4000-8000-000000000001, consumer: a, consumer_group: g}", "kg.yaml:6: consumer_group_consumers[1]: uniqueness violation: 'consumer_group_consumers' entity with consumer_group set to '"},
		"acl twice":          {header + "consumers:\n- {username: a, acls: [{group: g}, {group: g}]}", "kg.yaml:3: consumers[0].acls[1]: uniqueness violation: 'acls' entity with consumer set to '"},
		"default of unknown": {header + "_info: {defaults: {svc: {}}}", "kg.yaml:2: _info.defaults.svc: unknown field"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, err := parse(t, test.text)
			if err == nil {
				t.Fatalf("Parse accepted it: %+v", file)
			}
			first, _, _ := strings.Cut(err.Error(), "\n")
			if !strings.HasPrefix(first, test.want) {
				t.Errorf("error\n\t%v\nwant\n\t%s", err, test.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the error repeats a secret")
			}
		})
	}
}

func TestAllProblemsAtOnceInKongsTree(t *testing.T) {
	t.Parallel()
	_, err := parse(t, header+`
services:
- name: svc1
  host: h
  routes:
  - {name: r1, paths: [b], plugins: [{name: key-auth, config: {key_name: a}}]}
- host: h
- {}
consumers:
- {}
`)
	problems, ok := errors.AsType[*declarative.Problems](err)
	if !ok {
		t.Fatalf("error = %v, want *Problems", err)
	}
	want := map[string]any{
		"services": []any{
			map[string]any{"routes": []any{map[string]any{
				"paths":   []any{"should start with: / (fixed path) or ~/ (regex path)"},
				"plugins": []any{map[string]any{"config": map[string]any{"key_name": "unknown field"}}},
			}}},
			nil,
			map[string]any{"host": "required field missing"},
		},
		"consumers": []any{map[string]any{"@entity": []any{
			"at least one of these fields must be non-empty: 'custom_id', 'username'",
		}}},
	}
	if diff := cmp.Diff(want, problems.Fields()); diff != "" {
		t.Errorf("Fields (-want +got):\n%s", diff)
	}
	message := `declarative config is invalid: {consumers={{["@entity"]={"at least one of these fields must be non-empty: ` +
		`'custom_id', 'username'"}}},services={{routes={{paths={"should start with: / (fixed path) or ~/ (regex path)"},` +
		`plugins={{config={key_name="unknown field"}}}}}},[3]={host="required field missing"}}}`
	if problems.Message() != message {
		t.Errorf("Message =\n\t%s\nwant\n\t%s", problems.Message(), message)
	}
}

func TestSnisOfACertificate(t *testing.T) {
	t.Parallel()
	file, err := parse(t, header+`
certificates:
- {cert: "{vault://aa/b}", key: "{vault://aa/c}", snis: [{name: a.com}, b.com]}
`)
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Entities) != 3 || file.Entities[0].Document["snis"] != nil {
		t.Fatalf("entities = %+v", file.Entities)
	}
	for i, name := range []string{"a.com", "b.com"} {
		got := file.Entities[i+1]
		want := map[string]any{"id": file.Entities[0].ID}
		if got.Table != "snis" || got.Document["name"] != name || !cmp.Equal(got.Document["certificate"], any(want)) {
			t.Errorf("sni %d = %+v", i, got)
		}
	}
}

func TestVaults(t *testing.T) {
	t.Parallel()
	file, err := parse(t, header+`
vaults:
- {name: env, prefix: my-env, description: variables, config: {prefix: X_}, tags: [team-a]}
- name: hcv
  prefix: team
  config: {host: vault.test, token: "{vault://my-env/token}"}
certificates:
- {cert: "{vault://team/tls/cert}", key: "{vault://team/tls/key}"}
`)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, e := range file.Entities {
		if e.Table == "vaults" {
			found[e.Document["prefix"].(string)] = e.ID
		}
	}
	if len(file.Entities) != 3 || len(found) != 2 || found["team"] == found["my-env"] {
		t.Errorf("entities = %+v", file.Entities)
	}
	again, err := parse(t, header+`
vaults: [{name: hcv, prefix: team, config: {}}]
`)
	if err != nil || again.Entities[0].ID != found["team"] {
		t.Errorf("a vault's id is not made of its prefix: %v", err)
	}
	for text, field := range map[string]string{
		"vaults: [{name: env, prefix: my-env, config: {host: h}}]":                                           "vaults[0].config.host",
		"vaults: [{name: file, prefix: my-files, config: {prefix: ../up}}]":                                  "vaults[0].config.prefix",
		"vaults: [{name: hcv, prefix: team, config: {port: 8200}}]":                                          "vaults[0].config.host",
		"plugins: [{name: kvm-lookup, config: {map: m, key_name: k, header: x_consumer_id}}]":                "plugins[0].config.header",
		"services: [{name: s, host: h, plugins: [{name: correlation-id, config: {header_name: \"Host\"}}]}]": "plugins[0].config.header_name",
	} {
		if _, err := parse(t, header+text+"\n"); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want %s", text, err, field)
		}
	}
}

func TestAliasesAreBounded(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString(header + "_comment:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 9 {
		ref := "*a" + string(rune('0'+i))
		text.WriteString("  a" + string(rune('1'+i)) + ": &a" + string(rune('1'+i)) + " [" + strings.Repeat(ref+", ", 9) + ref + "]\n")
	}
	_, err := parse(t, text.String())
	if err == nil || !strings.Contains(err.Error(), "the aliases of this file expand to too much") {
		t.Errorf("error = %v", err)
	}
}

func TestMergeKeysAndOldFormats(t *testing.T) {
	t.Parallel()
	file, err := parse(t, `_format_version: "1.1"
services:
- &base {name: a, host: h, port: 81}
- <<: *base
  name: b
routes:
- paths: ['/a/\d+', /plain, ~/marked]
`)
	if err != nil {
		t.Fatal(err)
	}
	if file.Entities[1].Document["host"] != "h" || file.Entities[1].Document["name"] != "b" {
		t.Errorf("merged = %v", file.Entities[1].Document)
	}
	if diff := cmp.Diff([]any{`~/a/\d+`, "/plain", "~/marked"}, file.Entities[2].Document["paths"]); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}
