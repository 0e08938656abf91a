package app

import (
	"strings"
	"testing"
)

func TestATakenPortSaysWhatToChange(t *testing.T) {
	t.Parallel()
	first, err := listen("status_listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := listen("status_listen", first.Addr().String())
	if err == nil {
		second.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "another program has the port; change status_listen") {
		t.Errorf("listen = %v, want what to change", err)
	}
}
