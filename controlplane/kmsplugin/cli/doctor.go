package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/shared/memguard"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/kmssettings"
)

const doctorLong = `Look at everything that a plugin of these settings needs: its certificate, its socket, memory, and for each node of the control
plane whether it answers, knows the KEK, and wraps and unwraps.

Every step says ok, warning or wrong, and what was found. Under what is wrong stands the one thing that mends it; the steps that
could not be taken because of it are skipped. Nothing is changed and no secret is shown. The plugin may run meanwhile.

The exit status is 1 when something is wrong, else 0.`

func doctor(examine func(context.Context, kmssettings.KMS) []finding.Finding) (*cobra.Command, error) {
	cmd := &cobra.Command{
		Use: "doctor", Short: "find what keeps the plugin from working, and say what mends it", Long: doctorLong, Args: cobra.NoArgs,
		Example: "  keepgate-kms doctor --conf /etc/keepgate/keepgate.conf",
	}
	var s kmssettings.KMS
	asJSON := cmd.Flags().Bool("json", false, "write JSON: {\"wrong\": 0, \"warnings\": 0, \"findings\": [{\"area\", \"step\", \"verdict\", \"fact\", \"mend\"}]}")
	flags, err := settings.Bind(cmd, &s)
	if err != nil {
		return nil, err
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		memguard.Protect() // as run does, so that it shows what run will have
		loaded, err := flags.Load()
		if err != nil {
			return err
		}
		for _, warning := range loaded.Warnings {
			cmd.PrintErrln("warning:", warning)
		}
		findings := examine(cmd.Context(), s)
		if *asJSON {
			err = finding.WriteJSON(cmd.OutOrStdout(), findings)
		} else {
			err = finding.WriteText(cmd.OutOrStdout(), findings)
		}
		if wrong := finding.Count(findings, finding.Wrong); err == nil && wrong > 0 {
			return finding.Failed(wrong)
		}
		return err
	}
	return cmd, nil
}
