package main

import (
	"fmt"
	"os"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// applyFigures measures how long a data plane takes to hold a whole configuration: sent by the control plane, and
// found in its own sealed store with no control plane there.
func applyFigures(b *bench) {
	for _, n := range b.effort.entities {
		b.applyOne(n)
	}
}

func (b *bench) applyOne(n int) {
	c := harness.New(b)
	cp := c.ControlPlane("cp")
	cp.Start()
	pushed := b.timed(func() { cp.Admin().Push(entitiesFile(n)) })
	dp := c.DataPlane("edge", cp)
	dp.Launch()
	dp.Await(200, "/probe") // now the control plane has published the push
	dp.Stop()
	const times = 3
	var whole, cold []float64
	for range times {
		if err := os.RemoveAll(dp.Store()); err != nil {
			b.Fatalf("%v", err)
		}
		whole = append(whole, b.untilServing(dp))
		dp.Stop()
	}
	cp.Kill()
	for range times {
		cold = append(cold, b.untilServing(dp))
		dp.Stop()
	}
	aim := 0.0
	if n == 100_000 {
		aim = 2
	}
	name := fmt.Sprintf("%d entities", n)
	b.report.spread(figure{Name: name + ": cold start from the sealed store until it serves", Unit: "s", Aim: aim}, cold)
	b.report.spread(figure{Name: name + ": start with an empty store until it serves", Unit: "s", Note: "linking, snapshot, compiling, sealing to disk"}, whole)
	b.report.add(figure{Name: name + ": push, one transaction", Value: pushed, Unit: "s", Note: "SQLite, keyring on; by the control plane"})
}

func (b *bench) timed(do func()) float64 {
	begun := time.Now()
	do()
	return time.Since(begun).Seconds()
}

// untilServing is how long a data plane takes from its start until it serves what it should hold, in seconds.
func (b *bench) untilServing(dp *harness.DataPlane) float64 {
	return b.timed(func() {
		dp.Launch()
		deadline := time.Now().Add(2 * time.Minute)
		for time.Now().Before(deadline) {
			answer, err := harness.Get("http://" + dp.Proxy + "/probe")
			if err == nil && answer.Status == 200 {
				return
			}
			if dp.Pid() == 0 {
				b.Fatalf("the data plane ended: %s", dp.Log())
			}
			time.Sleep(2 * time.Millisecond)
		}
		b.Fatalf("the data plane did not serve in time: %s", dp.Log())
	})
}
