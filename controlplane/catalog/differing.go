package catalog

import (
	"google.golang.org/protobuf/proto"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
	"github.com/keepgate/keepgate/shared/schema"
)

// differing names the fields in which two entities differ, those that nobody sets aside.
func differing(e *schema.Entity, a, b proto.Message) (names []string) {
	ra, rb := a.ProtoReflect(), b.ProtoReflect()
	for _, f := range e.Fields {
		if f.Visibility != schema.Shown || f.Auto == schemav1.Auto_AUTO_CREATED_AT || f.Auto == schemav1.Auto_AUTO_UPDATED_AT {
			continue
		}
		_, d := fieldOf(a, f.Name)
		if ra.Has(d) != rb.Has(d) || (ra.Has(d) && !ra.Get(d).Equal(rb.Get(d))) {
			names = append(names, f.Name)
		}
	}
	return names
}
