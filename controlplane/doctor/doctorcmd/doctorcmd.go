// Package doctorcmd is the `doctor` command of a program: it shows what an examination by the program's settings found.
package doctorcmd

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/shared/settings"
)

// Examine looks at everything that the settings need.
type Examine[S any] func(ctx context.Context, s S) []finding.Finding

// Command returns the `doctor` command of a program, which is what ("plugin"). Its help begins with long.
func Command[S any](program, what, long string, examine Examine[S]) (*cobra.Command, error) {
	cmd := &cobra.Command{
		Use: "doctor", Short: "find what keeps the " + what + " from working, and say what mends it", Args: cobra.NoArgs, SilenceUsage: true,
		Long: long + `

Every step says ok, warning or wrong, and what was found. Under what is wrong stands the one thing that mends it; the steps that
could not be taken because of it are skipped. Nothing is changed and no secret is shown. The ` + what + ` may run meanwhile.

The exit status is 1 when something is wrong, else 0.`,
		Example: "  " + program + " doctor --conf /etc/keepgate/keepgate.conf",
	}
	var s S
	asJSON := cmd.Flags().Bool("json", false, "write JSON: {\"wrong\": 0, \"warnings\": 0, \"findings\": [{\"area\", \"step\", \"verdict\", \"fact\", \"mend\"}]}")
	flags, err := settings.Bind(cmd, &s)
	if err != nil {
		return nil, err
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := flags.Load(cmd.Context())
		if err != nil {
			return err
		}
		findings := append(doubts(loaded.Warnings), examine(cmd.Context(), s)...)
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

// doubts are what a start would warn of in the settings themselves.
func doubts(warnings []string) (findings []finding.Finding) {
	for _, warning := range warnings {
		fact, mend := warning, "take it out of the settings"
		if i := strings.LastIndex(warning, "; "); i > 0 {
			fact, mend = warning[:i], warning[i+len("; "):]
		}
		findings = append(findings, finding.Finding{Area: "settings", Step: "read", Verdict: finding.Warning, Fact: fact, Mend: mend})
	}
	return findings
}
