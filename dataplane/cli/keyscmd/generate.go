package keyscmd

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/dataplane/edgekeys"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/localkeys/scopedkeys"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

const generateLong = `Prints random scoped keys as a file for encryption_keys:

  (umask 077; keepgate-dp keys generate > keys.yaml)

They stand there as defaults; with --org and --env as those of one organisation and one environment. The keys are made here
and kept nowhere else. With --wrap the file holds none of them: kms has the plugin of encryption_keys_kms_endpoint wrap them,
vault the transit key encryption_keys_vault_key of the Vault of vault_hcv_host.`

// wish is what is asked for.
type wish struct {
	bits     int
	only     []string
	wrap     string
	org, env string
}

func generateCommand() (*cobra.Command, error) {
	var w wish
	var s dpsettings.DataPlane
	cmd := &cobra.Command{Use: "generate", Short: "Make scoped keys and print them as YAML", Long: generateLong, Args: cobra.NoArgs, SilenceUsage: true}
	flags, err := settings.Bind(cmd, &s)
	set := cmd.Flags()
	set.IntVar(&w.bits, "bits", 256, "the length of the keys: 128, 192 or 256")
	set.StringSliceVar(&w.only, "only", nil, "only these: "+strings.Join(names(), ", "))
	set.StringVar(&w.wrap, "wrap", "", "print them wrapped, by kms or by vault")
	set.StringVar(&w.org, "org", "", "print them as this organisation's, in place of defaults")
	set.StringVar(&w.env, "env", "", "print those of the environment as this one's, in place of defaults")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := flags.Load(cmd.Context()); err != nil {
			return err
		}
		return generate(cmd.Context(), cmd.OutOrStdout(), s, w)
	}
	return cmd, err
}

// nameOf is how a key is called on the command line.
func nameOf(k scopedkeys.Key) string {
	if k == (scopedkeys.Key{Class: localkeys.KVM, Environment: true}) { // the organisation has one too
		return "env.kvm"
	}
	return string(k.Class)
}

func names() (list []string) {
	for _, k := range scopedkeys.Keys() {
		list = append(list, nameOf(k))
	}
	return list
}

func generate(ctx context.Context, out io.Writer, s dpsettings.DataPlane, w wish) error {
	if w.bits != 128 && w.bits != 192 && w.bits != 256 {
		return fmt.Errorf("--bits %d: 128, 192 or 256 are allowed", w.bits)
	}
	for _, name := range w.only {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("--only %s: there are %s", name, strings.Join(names(), ", "))
		}
	}
	wrap := plain
	opener := edgekeys.NewOpener(s)
	switch w.wrap {
	case "":
	case "kms":
		wrap = opener.WrapByKMS
	case "vault":
		wrap = opener.WrapByVault
	default:
		return fmt.Errorf("--wrap %s: kms or vault", w.wrap)
	}
	values := map[scopedkeys.Key]string{}
	for _, k := range scopedkeys.Keys() {
		if len(w.only) > 0 && !slices.Contains(w.only, nameOf(k)) {
			continue
		}
		material := make([]byte, w.bits/8)
		rand.Read(material) // never fails: crypto/rand ends the process instead
		key := secret.Take(material)
		text, err := wrap(ctx, key)
		key.Wipe()
		if err != nil {
			return err
		}
		values[k] = text
	}
	_, err := io.WriteString(out, render(values, w))
	return err
}

func plain(_ context.Context, key secret.Bytes) (text string, _ error) {
	key.Reveal(func(data []byte) { text = base64.StdEncoding.EncodeToString(data) })
	return text, nil
}

// render writes keys in the shape that files have.
func render(values map[scopedkeys.Key]string, w wish) string {
	var b strings.Builder
	if w.wrap == "" {
		b.WriteString("# Whoever reads this file reads what its keys seal: let nobody but keepgate-dp (chmod 600).\n")
	}
	lines := func(indent string, environment bool) (n int) {
		for _, k := range scopedkeys.Keys() {
			if text, there := values[k]; there && k.Environment == environment {
				fmt.Fprintf(&b, "%s%s: %s\n", indent, scopedkeys.NameOf(k.Class), strconv.Quote(text))
				n++
			}
		}
		return n
	}
	has := func(environment bool) bool {
		for k := range values {
			if k.Environment == environment {
				return true
			}
		}
		return false
	}
	if has(false) && w.org == "" || has(true) && w.env == "" {
		b.WriteString("defaults:\n")
	}
	if has(false) && w.org == "" {
		b.WriteString("  org:\n")
		lines("    ", false)
	}
	if has(true) && w.env == "" {
		b.WriteString("  env:\n")
		lines("    ", true)
	}
	if w.org != "" {
		fmt.Fprintf(&b, "org: %s\n", strconv.Quote(w.org))
		lines("", false)
	}
	if has(true) && w.env != "" {
		fmt.Fprintf(&b, "envs:\n  - name: %s\n", strconv.Quote(w.env))
		lines("    ", true)
	}
	return b.String()
}
