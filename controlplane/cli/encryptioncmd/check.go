package encryptioncmd

import (
	"cmp"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/encryption/providerconfig"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

const checkLong = `Reads a file for encryption_provider_config as a start and a reload do, and says everything that is wrong with it, each with its
line, or what would write and read each table. It opens no database and calls no plugin: whether rows still need a provider
that the file leaves out is found when the file is taken, and refused then.

The file is a Kubernetes EncryptionConfiguration. A whole one:

  apiVersion: apiserver.config.k8s.io/v1
  kind: EncryptionConfiguration
  resources:
    - resources: [keyauth_credentials]       # tables, or "*.*" for all
      providers:                             # the first writes, all of them read
        - kms:
            apiVersion: v2
            name: hsm                        # stands in stored values: it cannot be changed later
            endpoint: unix:///run/kms/hsm.sock
            timeout: 3s
        - keyring: {}                        # our own ring (keyring_enabled = on)
        - identity: {}                       # plaintext; take it out when none is left
    - resources: ["*.*"]                     # all others; a table that no entry names is as the settings say
      providers:
        - keyring: {}

Further providers: aesgcm, aescbc and secretbox, each with {keys: [{name: key1, secret: BASE64}]}; such a file must be readable by
its owner alone. aescbc and secretbox bind a value to no place and so only read, unless allow_unbound_providers = on.

To change a provider: put the new one second, and have all nodes take the file; put it first, and have them take it; run
keepgate-cp keyring reencrypt; when keepgate-cp encryption status shows no stale rows, take the old one out.

Tables with encrypted fields: `

func checkCommand() (*cobra.Command, error) {
	entities := schema.New(plugins.All())
	all, err := providerconfig.OptionsOf(entities, true, false, "")
	cmd := &cobra.Command{
		Use: "check [FILE]", Short: "say what is wrong with a file of providers, without anything running", Args: cobra.MaximumNArgs(1), SilenceUsage: true,
		Long:    checkLong + strings.Join(all.Tables, ", "),
		Example: "  keepgate-cp encryption check /etc/keepgate/encryption.yaml --keyring-enabled=on",
	}
	var s cpsettings.ControlPlane
	flags, bindErr := settings.Bind(cmd, &s)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := flags.Read(); err != nil {
			return err
		}
		path := s.Keyring.ProviderConfig
		if len(args) > 0 {
			path = args[0]
		}
		if path == "" {
			return errors.New("which file? give it as an argument, or set encryption_provider_config")
		}
		return check(cmd, path, s.Keyring, entities)
	}
	return cmd, cmp.Or(err, bindErr)
}

func check(cmd *cobra.Command, path string, s cpsettings.Keyring, entities *schema.Schema) error {
	options, err := providerconfig.OptionsOf(entities, s.Enabled, s.AllowUnboundProviders, s.FeatureGates)
	if err != nil {
		return err
	}
	text, err := providerconfig.Read(path)
	if err != nil {
		return err
	}
	defer text.Wipe()
	config, err := text.Parse(options)
	if err != nil {
		return err
	}
	for _, table := range options.Tables {
		chain, line, found := config.Chain(table)
		if !found {
			say(cmd, "%-24s as the settings say: the file does not name it", table)
			continue
		}
		names := make([]string, len(chain))
		for i, p := range chain {
			names[i] = p.String()
		}
		say(cmd, "%-24s %s (line %d)", table, strings.Join(names, " > "), line)
	}
	for _, warning := range config.Warnings {
		say(cmd, "warning: %s", warning)
	}
	say(cmd, "%s is right: %s", path, config.Hash)
	return nil
}
