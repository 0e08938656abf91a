package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/encryption/providerconfig"
	"github.com/keepgate/keepgate/controlplane/keyring/kms"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

// providers looks at encryption_provider_config, and at the plugins that it names.
func (d *doctoring) providers(ctx context.Context) (findings []finding.Finding) {
	s := d.settings
	if s.Keyring.ProviderConfig == "" && s.Keyring.FeatureGates == "" && !s.Keyring.ProviderConfigReload {
		return nil
	}
	findings = one(ctx, "providers", "encryption_provider_config", func(context.Context) finding.Result {
		err := checkProviders(s)
		if problems, ok := errors.AsType[*providerconfig.Problems](err); ok {
			first := (&providerconfig.Problems{File: problems.File, List: problems.List[:1]}).Error()
			return finding.Bad(fmt.Sprintf("%s (%d problems)", first, len(problems.List)), "mend the file; keepgate-cp encryption check says each problem")
		}
		if err != nil {
			return finding.Bad(fault.Text(err), "mend that setting as it says")
		}
		return finding.Fine("%s", s.Keyring.ProviderConfig)
	})
	if s.Keyring.ProviderConfig == "" || finding.Count(findings, finding.Wrong) > 0 {
		return findings
	}
	text, err := providerconfig.Read(s.Keyring.ProviderConfig)
	if err != nil {
		return findings // it changes right now
	}
	defer text.Wipe()
	options, err := providerOptions(schema.New(plugins.All()), s)
	if err != nil {
		return findings
	}
	config, err := text.Parse(options)
	if err != nil {
		return findings
	}
	seen := map[string]bool{}
	for _, given := range config.Plugins() {
		if key := pluginKey(given); !seen[key] {
			seen[key] = true
			findings = append(findings, examinePlugin(ctx, given)...)
		}
	}
	return findings
}

func examinePlugin(ctx context.Context, given providerconfig.Plugin) []finding.Finding {
	quiet := slog.New(slog.DiscardHandler)
	gates := fmt.Sprintf("KMSv1=%t", given.Version == "v1") // that it may be was seen with the file
	client, err := kmsPlugin(kmsclient.Options{Name: given.Name, Endpoint: given.Endpoint, Timeout: given.Timeout, Log: quiet}, given.Version, gates)
	if err != nil {
		return nil // told with the file
	}
	keeper := kms.New(given.Name, client, kms.Options{Endpoint: given.Endpoint, Log: quiet})
	defer func() { _ = keeper.Close() }() // nothing is on its way
	return keeper.Examine(ctx, "the endpoint of "+given.Name+" in encryption_provider_config")
}
