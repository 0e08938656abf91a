package settings_test

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
	"github.com/keepgate/keepgate/shared/settings/kmssettings"
)

//go:generate go test . -run TestReferencePage -update

var update = flag.Bool("update", false, "write the reference page anew")

func planes() []any {
	return []any{&cpsettings.ControlPlane{}, &dpsettings.DataPlane{}, &kmssettings.KMS{}}
}

func TestPlanesLoadTheirDefaults(t *testing.T) {
	t.Parallel()
	for _, plane := range planes() {
		if _, err := settings.Load(plane, settings.Sources{}); err != nil {
			t.Errorf("%T: %v", plane, err)
		}
	}
}

func TestEachPlaneKnowsTheOthersNames(t *testing.T) {
	t.Parallel()
	var names []string
	for _, plane := range planes() {
		own, err := settings.Names(plane)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, own...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if diff := cmp.Diff(names, settings.OtherPlane()); diff != "" {
		t.Errorf("planes.go (-want +got); the whole list is\n%s\n%s", strings.Join(names, "\n"), diff)
	}
}

// A key of our own must not pass as one of Kong's in the other binary, or its typos would only warn.
func TestKongOnlyHoldsNoneOfOurs(t *testing.T) {
	t.Parallel()
	var names []string
	for _, plane := range planes() {
		own, err := settings.Names(plane)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, own...)
	}
	const nginx, lua = "nginx_http_", "lua_ssl_" // Kong's names that have a meaning here
	for _, name := range names {
		if settings.KongOnly(name) && !strings.HasPrefix(name, nginx) && !strings.HasPrefix(name, lua) {
			t.Errorf("%s is ours", name)
		}
	}
}

// What Kong's configuration says of the node that it is anyway deserves no warning; anything else does.
func TestOwnRoleIsNoWarning(t *testing.T) {
	t.Parallel()
	for i, own := range []string{"control_plane", "data_plane"} {
		for _, role := range []string{"control_plane", "data_plane", "traditional"} {
			loaded, err := settings.Load(planes()[i], settings.Sources{Environ: []string{"KONG_ROLE=" + role}})
			if err != nil {
				t.Fatal(err)
			}
			if warned := len(loaded.Warnings) > 0; warned != (role != own) {
				t.Errorf("plane %d with role %s warns %q", i, role, loaded.Warnings)
			}
		}
	}
}

func TestControlPlaneNeedsADatabase(t *testing.T) {
	t.Parallel()
	_, err := settings.Load(planes()[0], settings.Sources{File: write(t, "kong.conf", "database = off\n")})
	if err == nil || !strings.Contains(err.Error(), "a control plane needs a database: sqlite or postgres") {
		t.Errorf("Load = %v, want what is needed", err)
	}
	if _, err := settings.Load(planes()[1], settings.Sources{File: write(t, "kong.conf", "database = off\n")}); err != nil {
		t.Errorf("a data plane has no database, and is refused one: %v", err)
	}
}

// TestReferencePage holds docs/settings.md to the declarations.
func TestReferencePage(t *testing.T) {
	t.Parallel()
	var page strings.Builder
	page.WriteString("# Settings\n\n" +
		"This page is written by `make generate` from the declarations in `shared/settings`.\n\n" +
		"A setting is a line `key = value` of the settings file, a variable `KEEPGATE_<KEY>`, or a flag `--<key>` with dashes\n" +
		"for underscores; one alone means on, where that is a value. Flags are stronger than `KEEPGATE_*` variables, those than `KONG_*` variables, those than the file\n" +
		"(`-c`, else `/etc/keepgate/keepgate.conf`, `/etc/keepgate.conf`; a file whose name begins with `kong` is read as Kong's).\n" +
		"An empty value counts as not given. Unknown keys stop the start; keys that only Kong has a use for warn,\n" +
		"unless they ask for a protection that this version does not have: those stop it too.\n" +
		"A relative path is taken from the folder that the program is started in, unless its meaning says that it lies below the prefix.\n")
	for i, plane := range planes() {
		table, err := settings.Markdown(plane)
		if err != nil {
			t.Fatal(err)
		}
		page.WriteString("\n## " + []string{"keepgate-cp", "keepgate-dp", "keepgate-kms"}[i] + "\n" + table)
	}
	const path = "../../docs/settings.md"
	if *update {
		if err := os.MkdirAll("../../docs", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(written), page.String()); diff != "" {
		t.Fatalf("%s is not what the declarations say; run make generate (-file +declared):\n%s", path, diff)
	}
}
