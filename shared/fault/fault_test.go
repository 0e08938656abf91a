package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/keepgate/keepgate/shared/fault"
)

func TestKindAndSubjectSurviveWrapping(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err     error
		kind    fault.Kind
		subject string
	}{
		"plain error":      {io.EOF, fault.Internal, ""},
		"nil":              {nil, fault.Internal, ""},
		"direct":           {fault.New(fault.Conflict, "a.B", "routes/x", io.EOF), fault.Conflict, "routes/x"},
		"wrapped":          {fmt.Errorf("outer: %w", fault.New(fault.Denied, "a.B", "s", io.EOF)), fault.Denied, "s"},
		"outermost counts": {fault.New(fault.Corrupt, "c.D", "o", fault.New(fault.Denied, "a.B", "i", nil)), fault.Corrupt, "o"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if kind := fault.KindOf(test.err); kind != test.kind {
				t.Errorf("KindOf = %v, want %v", kind, test.kind)
			}
			if subject := fault.SubjectOf(test.err); subject != test.subject {
				t.Errorf("SubjectOf = %q, want %q", subject, test.subject)
			}
		})
	}
}

func TestTextIsForPeople(t *testing.T) {
	t.Parallel()
	gone := fault.Newf(fault.NotFound, "process.Signal", "keepgate-cp in /var", "it is not running")
	tests := map[string]struct {
		err  error
		want string
	}{
		"nil":             {nil, ""},
		"plain":           {io.EOF, "EOF"},
		"with a subject":  {gone, "keepgate-cp in /var: it is not running"},
		"without":         {fault.New(fault.NotFound, "a.B", "", nil), "not found"},
		"wrapped":         {fmt.Errorf("stopping: %w", gone), "stopping: keepgate-cp in /var: it is not running"},
		"one in another":  {fault.New(fault.Invalid, "c.D", "o", fmt.Errorf("x: %w", fault.New(fault.Denied, "a.B", "i", io.EOF))), "o: x: i: EOF"},
		"joined":          {errors.Join(gone, io.EOF, gone), "keepgate-cp in /var: it is not running\nEOF\nkeepgate-cp in /var: it is not running"},
		"a kind as words": {fault.Newf(fault.Invalid, "a.B", "", "it is (invalid)"), "it is (invalid)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := fault.Text(test.err); got != test.want {
				t.Errorf("Text = %q, want %q", got, test.want)
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	err := fault.Newf(fault.Unavailable, "keyring.Key", "key/8zgITLQh", "not held: %w", io.EOF)
	if want := "keyring.Key key/8zgITLQh: not held: EOF (unavailable)"; err.Error() != want {
		t.Errorf("Error() = %q, want %q", err, want)
	}
	if !errors.Is(err, io.EOF) {
		t.Error("the cause is not reachable by errors.Is")
	}
	if got, want := fault.New(fault.NotFound, "a.B", "", nil).Error(), "a.B: not found (not found)"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}
