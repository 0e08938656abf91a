package finding_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
)

func TestRunSkipsWhatNeedsWhatIsWrong(t *testing.T) {
	t.Parallel()
	does := func(result finding.Result) func(context.Context) finding.Result {
		return func(context.Context) finding.Result { return result }
	}
	never := func(context.Context) finding.Result {
		t.Error("a step was taken that had to be skipped")
		return finding.Result{}
	}
	got := finding.Run(t.Context(), "area", []finding.Step{
		{Name: "a", Do: does(finding.Fine("1"))},
		{Name: "b", Needs: []string{"a"}, Do: does(finding.Bad("2\n\x1b[31m", "mend it"))},
		{Name: "c", Needs: []string{"b"}, Do: never},
		{Name: "d", Needs: []string{"a", "c"}, Do: never},
		{Name: "e", Needs: []string{"a", "absent"}, Do: does(finding.Beware("3", "later"))},
		{Name: "f", Needs: []string{"e"}, Do: does(finding.Because("elsewhere"))},
		{Name: "g", Needs: []string{"f"}, Do: never},
	})
	want := []finding.Finding{
		{"area", "a", finding.OK, "1", ""},
		{"area", "b", finding.Wrong, "2 ?[31m", "mend it"},
		{"area", "c", finding.Skipped, "because of: b", ""},
		{"area", "d", finding.Skipped, "because of: b", ""},
		{"area", "e", finding.Warning, "3", "later"},
		{"area", "f", finding.Skipped, "because of: elsewhere", ""},
		{"area", "g", finding.Skipped, "because of: elsewhere", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if n := finding.Count(got, finding.Skipped); n != 4 {
		t.Errorf("%d were skipped", n)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	got := finding.Run(ctx, "area", []finding.Step{
		{Name: "a", Do: func(context.Context) finding.Result { cancel(); return finding.Fine("1") }},
		{Name: "b", Do: func(context.Context) finding.Result { t.Error("taken after the end"); return finding.Result{} }},
	})
	if got[1].Verdict != finding.Skipped {
		t.Errorf("%+v", got)
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\r\nb\x1b[2J\u202e")
	f.Fuzz(func(t *testing.T, text string) {
		line := finding.Line(text)
		if strings.ContainsAny(line, "\n\r\x1b\u202e\u2028") || len([]rune(line)) > 601 {
			t.Errorf("%q", line)
		}
	})
}
