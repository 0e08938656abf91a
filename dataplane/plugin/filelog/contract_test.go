package filelog_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/plugin/filelog"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
)

func TestContract(t *testing.T) {
	log := plugintest.NewLog()
	plugintest.Suite(t, plugintest.Plugin{
		Kind:   filelog.New(t.TempDir(), log.Logger()),
		Config: `{"path":"requests.log"}`, Log: log,
	})
}
