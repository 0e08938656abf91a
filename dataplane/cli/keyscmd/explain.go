package keyscmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/dataplane/edgekeys"
	"github.com/keepgate/keepgate/dataplane/enrol"
	"github.com/keepgate/keepgate/dataplane/localstore"
	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/localkeys/scopedkeys"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

const explainLong = `Says which key seals something on this node, where it was given, and why it is that one. It never shows a key.

  keepgate-dp keys explain                       everything
  keepgate-dp keys explain kvm                   a class: contract, kms, kvm or cache
  keepgate-dp keys explain consumers             entities of a table
  keepgate-dp keys explain key_value_maps/6f…    one entity that this node holds

Settings are read as by keepgate-dp run. They are read anew: of a node that runs, GET /status says which keys it uses.`

func explainCommand() (*cobra.Command, error) {
	var s dpsettings.DataPlane
	cmd := &cobra.Command{
		Use: "explain [CLASS | TABLE[/ID]]", Short: "Say which key seals something, and why", Long: explainLong, Args: cobra.MaximumNArgs(1), SilenceUsage: true,
	}
	flags, err := settings.Bind(cmd, &s)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := flags.Load(cmd.Context()); err != nil {
			return err
		}
		return explain(cmd.Context(), cmd.OutOrStdout(), s, strings.Join(args, ""))
	}
	return cmd, err
}

func explain(ctx context.Context, out io.Writer, s dpsettings.DataPlane, what string) error {
	source, err := identify(s.Cluster)
	if err != nil {
		return err
	}
	identity := source.Identity()
	who := scopedkeys.Who{Organisation: identity.Organisation, Environment: identity.Environment}
	opener := edgekeys.NewOpener(s)
	read, err := edgekeys.SourcesOf(s.Keys).Read()
	if err != nil {
		return err
	}
	choice, err := read.Choose(ctx, who, opener)
	if err != nil {
		return err
	}
	sections, err := sectionsOf(what, who, func(ref localstore.Ref) (localkeys.Section, error) { return find(s, source, choice, opener, ref) })
	if err != nil {
		return err
	}
	if s.Store.Encryption == string(localstore.Off) {
		fmt.Fprintln(out, "declarative_config_encryption_mode is off: the local store is in clear, whatever is given")
	}
	ring, mode, err := ringOf(s, source)
	if err != nil {
		return err
	}
	ring = ring.With(choice.Keys())
	for i, section := range sections {
		if i > 0 {
			fmt.Fprintln(out)
		}
		id, err := idOf(ring, mode, section)
		if err != nil {
			return err
		}
		show(out, choice.Explain(section), id)
	}
	for _, warning := range choice.Warnings {
		fmt.Fprintln(out, "\nwarning:", warning)
	}
	return nil
}

// ringOf is the keys that come of the node's own private key, and how its store is sealed.
func ringOf(s dpsettings.DataPlane, source *mtls.Source) (*localkeys.Ring, localstore.Mode, error) {
	current, err := source.DeriveKey(edgekeys.Label, 32)
	if err != nil {
		return nil, "", err
	}
	mode, err := localstore.ParseMode(s.Store.Encryption)
	if err != nil {
		return nil, "", err
	}
	ring, err := localkeys.New(current)
	return ring, mode, err
}

// idOf names the key that seals a section on the disk; "-" where that is in clear, which responses never are.
func idOf(ring *localkeys.Ring, mode localstore.Mode, section localkeys.Section) (string, error) {
	suite := aead.AES256GCM
	switch {
	case mode == localstore.ChaCha20Poly1305:
		suite = aead.ChaCha20Poly1305
	case mode == localstore.Off && section.Class != localkeys.Cache:
		return "-", nil
	}
	return ring.KeyID(suite, section)
}

func show(out io.Writer, e scopedkeys.Explanation, id string) {
	of := "the organisation's"
	if e.Section.Scope != "" {
		of = "environment " + e.Section.Scope + "'s"
	}
	fmt.Fprintf(out, "data      %s, %s\nkey of    %s\ngiven by  %s\nkey id    %s\nwhy       %s\n", e.Section.Class, of, e.Scope, e.From, id, e.Why)
}

// identify is who this node is, as keepgate-dp run finds it.
func identify(c dpsettings.Cluster) (*mtls.Source, error) {
	log := slog.New(slog.DiscardHandler)
	if c.Cert == "" && c.Key == "" && trust.Mode(c.MTLS) != trust.Shared {
		folder := enrol.At(c.Enrolment)
		if !folder.Joined() {
			return nil, fmt.Errorf("there is no certificate in %s that says who this node is: name its folder (--prefix or --conf, as keepgate-dp run has it), or join first", folder.Dir())
		}
		source, err := folder.Open(log)
		if err != nil {
			return nil, fmt.Errorf("reading who this node is: %w", err)
		}
		return source, nil
	}
	return mtls.OpenWith(mtls.Files{Cert: c.Cert, Key: c.Key, CA: c.CACert, CRL: c.CRL},
		mtls.Options{Mode: trust.Mode(c.MTLS), Role: identity.DataPlane, CrossSigned: true, Log: log})
}

// sectionsOf is what a class, a table or an entity may be sealed as.
func sectionsOf(what string, who scopedkeys.Who, find func(localstore.Ref) (localkeys.Section, error)) ([]localkeys.Section, error) {
	var all []localkeys.Section
	for _, k := range scopedkeys.Keys() {
		all = append(all, k.Section(who))
	}
	of := func(class localkeys.Class) []localkeys.Section {
		return slices.DeleteFunc(slices.Clone(all), func(s localkeys.Section) bool { return s.Class != class })
	}
	if what == "" {
		return all, nil
	}
	if sections := of(localkeys.Class(what)); len(sections) > 0 {
		return sections, nil
	}
	table, id, one := strings.Cut(what, "/")
	entity, known := schema.New(plugins.All()).Entity(table)
	if !known {
		return nil, fmt.Errorf("%q is no class (contract, kms, kvm, cache) and no table, as services or key_value_maps", table)
	}
	if one {
		section, err := find(localstore.Ref{Kind: table, ID: id})
		return []localkeys.Section{section}, err
	}
	switch entity.DataClass {
	case schemav1.DataClass_DATA_CLASS_CONTRACT:
		return of(localkeys.Contract), nil
	case schemav1.DataClass_DATA_CLASS_KVM:
		return of(localkeys.KVM), nil
	}
	return of(localkeys.KMS), nil
}

// find looks for an entity in the local store, which keepgate-dp may be using.
func find(s dpsettings.DataPlane, source *mtls.Source, choice *scopedkeys.Choice, opener scopedkeys.Opener, ref localstore.Ref) (localkeys.Section, error) {
	own, mode, err := ringOf(s, source)
	if err != nil {
		return localkeys.Section{}, err
	}
	section, data, err := localstore.Find(s.Store.Folder, localstore.Options{
		Mode: mode, Node: source.Identity().Organisation + "/" + source.Identity().Environment,
		Holder: edgekeys.New(own, choice, opener, slog.New(slog.DiscardHandler)),
	}, ref)
	clear(data)
	if fault.KindOf(err) == fault.NotFound {
		return section, errors.New("this node does not hold " + ref.Kind + "/" + ref.ID + ": the id is wanted, and not a name")
	}
	return section, err
}
