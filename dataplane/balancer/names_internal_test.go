package balancer

import (
	"fmt"
	"net"
	"runtime"
	"testing"
)

// Names that no balancer asks for any more are forgotten; those in use are not.
func TestNamesAreForgotten(t *testing.T) {
	t.Parallel()
	names := NewNames(net.DefaultResolver, NameOptions{})
	kept := names.name("kept.test")
	for i := range 20_000 {
		names.name(fmt.Sprintf("host-%d.test", i))
		if i%1000 == 0 {
			runtime.GC()
		}
	}
	if n := len(names.known); n > 8000 {
		t.Errorf("%d names are remembered", n)
	}
	if names.name("kept.test") != kept {
		t.Error("a name in use was forgotten")
	}
	runtime.KeepAlive(kept)
}
