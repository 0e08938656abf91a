package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

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
			err = writeJSON(cmd.OutOrStdout(), findings)
		} else {
			err = writeText(cmd.OutOrStdout(), findings)
		}
		if wrong := finding.Count(findings, finding.Wrong); err == nil && wrong > 0 {
			return failed(wrong)
		}
		return err
	}
	return cmd, nil
}

// failed says how many things are wrong.
type failed int

func (f failed) Error() string {
	if f == 1 {
		return "one thing is wrong"
	}
	return fmt.Sprintf("%d things are wrong", int(f))
}

func writeJSON(out io.Writer, findings []finding.Finding) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(map[string]any{
		"wrong": finding.Count(findings, finding.Wrong), "warnings": finding.Count(findings, finding.Warning), "findings": findings,
	})
}

func writeText(out io.Writer, findings []finding.Finding) error {
	area := ""
	for _, one := range findings {
		if one.Area != area {
			area = one.Area
			fmt.Fprintln(out, area)
		}
		fmt.Fprintf(out, "  %-7s  %-11s  %s\n", one.Verdict, one.Step, one.Fact)
		if one.Mend != "" {
			fmt.Fprintf(out, "  %-7s  %-11s  → %s\n", "", "", one.Mend)
		}
	}
	return nil
}
