package keyscmd_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/keepgate/keepgate/dataplane/edgekeys"
	"github.com/keepgate/keepgate/shared/localkeys/scopedkeys"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

// manifest is what the test looks at in the shipped objects.
type manifest struct {
	Kind string
	Data map[string]string
	Spec struct{ Template struct{ Spec pod } }
}

type pod struct {
	SecurityContext struct {
		RunAsUser int `yaml:"runAsUser"`
		FSGroup   int `yaml:"fsGroup"`
	} `yaml:"securityContext"`
	Containers []struct {
		Command      []string
		VolumeMounts []struct {
			Name     string
			Path     string `yaml:"mountPath"`
			Sub      string `yaml:"subPath"`
			ReadOnly bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	Volumes []struct {
		Name   string
		Secret *struct {
			DefaultMode yaml.Node `yaml:"defaultMode"`
			Items       []struct{ Key, Path string }
		}
	}
}

func shipped(t *testing.T) (conf string, p pod) {
	t.Helper()
	data, err := os.ReadFile("../../../deploy/kubernetes/keepgate-dp.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var m manifest
		switch err := decoder.Decode(&m); {
		case errors.Is(err, io.EOF):
			return conf, p
		case err != nil:
			t.Fatal(err)
		case m.Kind == "ConfigMap":
			conf = m.Data["keepgate.conf"]
		case m.Kind == "StatefulSet":
			p = m.Spec.Template.Spec
		}
	}
}

// The manifest that is shipped mounts a Secret where its settings look for keys, as a data plane reads it.
func TestShippedManifest(t *testing.T) {
	t.Parallel()
	conf, p := shipped(t)
	file := filepath.Join(t.TempDir(), "keepgate.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	var s dpsettings.DataPlane
	loaded, err := settings.Load(&s, settings.Sources{File: file})
	if err != nil || len(loaded.Warnings) > 0 || s.Store.Encryption == "off" {
		t.Fatalf("%v, %+v", err, loaded)
	}
	if p.SecurityContext.RunAsUser == 0 || p.SecurityContext.FSGroup == 0 || len(p.Containers) != 1 || !strings.HasSuffix(strings.Join(p.Containers[0].Command, " "), "--conf /etc/keepgate/keepgate.conf") {
		t.Errorf("the pod is %+v", p)
	}
	mounted := map[string]string{} // volume, by where
	for _, m := range p.Containers[0].VolumeMounts {
		mounted[m.Path] = m.Name
		if m.Sub != "" || !m.ReadOnly && m.Path != s.Process.Prefix {
			t.Errorf("%s is mounted as %+v", m.Name, m)
		}
	}
	for _, path := range []string{s.Cluster.Cert, s.Cluster.Key, s.Cluster.CACert} {
		if mounted[filepath.Dir(path)] != "cluster" {
			t.Errorf("nothing is mounted at %s", path)
		}
	}
	for _, v := range p.Volumes {
		if v.Secret == nil {
			continue
		}
		if mode, err := strconv.ParseUint(v.Secret.DefaultMode.Value, 8, 32); err != nil || mode != 0o440 {
			t.Errorf("%s has the mode %s", v.Name, v.Secret.DefaultMode.Value)
		}
		if v.Name != mounted[s.Keys.Folder] {
			continue
		}
		s.Keys.Folder = t.TempDir()
		written := filepath.Join(s.Keys.Folder, "..2026_11_22") // as the kubelet does
		if err := errors.Join(os.Mkdir(written, 0o700), os.Symlink(filepath.Base(written), filepath.Join(s.Keys.Folder, "..data"))); err != nil {
			t.Fatal(err)
		}
		for _, one := range v.Secret.Items {
			key := make([]byte, 32)
			_, _ = rand.Read(key) // never fails
			text := base64.StdEncoding.EncodeToString(key) + "\n"
			if err := errors.Join(os.WriteFile(filepath.Join(written, one.Path), []byte(text), 0o400), os.Symlink(filepath.Join("..data", one.Path), filepath.Join(s.Keys.Folder, one.Path))); err != nil {
				t.Fatal(err)
			}
		}
	}
	read, err := edgekeys.SourcesOf(s.Keys).Read()
	if err != nil {
		t.Fatal(err)
	}
	choice, err := read.Choose(t.Context(), node, nil)
	if err != nil || len(choice.Chosen) != len(scopedkeys.Keys()) || len(choice.Warnings) > 0 {
		t.Errorf("%v, %+v", err, choice)
	}
}
