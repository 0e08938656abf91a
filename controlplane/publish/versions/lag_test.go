package versions

import (
	"encoding/hex"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/shared/configset"
)

func TestLag(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := New().Of("prod")
		if _, ok := e.Lag(fleet.Held{}, time.Now()); ok {
			t.Error("it is known before the database was read")
		}
		var set configset.Set
		var held []fleet.Held
		show := func(number uint64) {
			set = set.Put(configset.Entry{Kind: "services", ID: fmt.Sprint(number), Body: []byte{1}})
			hash := set.Hash()
			e.Set(&Version{Epoch: 1, Number: number, Set: set})
			held = append(held, fleet.Held{Epoch: 1, Version: number, Hash: hex.EncodeToString(hash[:])})
			time.Sleep(10 * time.Second)
		}
		show(3)
		show(5)
		show(9)
		e.Set(&Version{Epoch: 1, Number: 11, Set: set}) // under another number: it is the same
		held = append(held, fleet.Held{Epoch: 1, Version: 11, Hash: held[2].Hash})
		for name, test := range map[string]struct {
			held fleet.Held
			want fleet.Lag
			ok   bool
		}{
			"the newest":                       {held[3], fleet.Lag{}, true},
			"the newest by its former number":  {held[2], fleet.Lag{}, true},
			"the one before":                   {held[1], fleet.Lag{Versions: 1, Seconds: 10}, true},
			"two before":                       {held[0], fleet.Lag{Versions: 2, Seconds: 20}, true},
			"nothing":                          {fleet.Held{}, fleet.Lag{Versions: 3, Seconds: 30}, true},
			"older than is remembered":         {fleet.Held{Epoch: 1, Version: 2, Hash: "0102"}, fleet.Lag{Versions: 3, Seconds: 30, AtLeast: true}, true},
			"of an epoch before":               {fleet.Held{Epoch: 0, Version: 99, Hash: held[3].Hash}, fleet.Lag{Versions: 3, Seconds: 30, AtLeast: true}, true},
			"later than this node has read":    {fleet.Held{Epoch: 1, Version: 12, Hash: "00"}, fleet.Lag{}, false},
			"of an epoch that is not here yet": {fleet.Held{Epoch: 2, Version: 1, Hash: "00"}, fleet.Lag{}, false},
		} {
			got, ok := e.Lag(test.held, time.Now())
			if diff := cmp.Diff(test.want, got); ok != test.ok || ok && diff != "" {
				t.Errorf("%s: %t (-want +got):\n%s", name, ok, diff)
			}
		}
		for number := range uint64(2 * kept) {
			set = set.Put(configset.Entry{Kind: "services", ID: "many", Body: fmt.Append(nil, number)})
			e.Set(&Version{Epoch: 1, Number: 20 + number, Set: set})
		}
		if got, _ := e.Lag(held[3], time.Now()); !got.AtLeast || got.Versions != kept+1 {
			t.Errorf("after it was forgotten: %+v", got)
		}
	})
}
