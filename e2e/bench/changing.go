package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// changeFigures measures how long one change takes from the control plane to the gate, among 10,000 entities.
func changeFigures(b *bench) {
	c := harness.New(b)
	cp := c.ControlPlane("cp", "--db-update-frequency", "5s") // hints do it, not polling
	cp.Start()
	dp := c.DataPlane("edge", cp)
	dp.Launch()
	cp.Admin().Push(entitiesFile(10_000))
	dp.Await(200, "/probe")
	kept := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}} // its connection stays open
	var committed, whole []float64
	for i := range b.effort.changes {
		message := fmt.Sprint("change ", i+1)
		sent := time.Now()
		cp.Admin().Do(200, http.MethodPatch, "/plugins/probe", map[string]any{"config": map[string]any{"message": message}})
		answered := time.Now()
		seen := b.awaitMessage(kept, "http://"+dp.Proxy+"/probe", message)
		committed = append(committed, float64(max(0, seen.Sub(answered)).Microseconds())/1000)
		whole = append(whole, float64(seen.Sub(sent).Microseconds())/1000)
		time.Sleep(5 * time.Millisecond)
	}
	note := fmt.Sprintf("%d changes of one plugin among 10,000 entities", len(whole))
	b.report.add(figure{Name: "one change, write sent → gate acts on it, p50", Value: quantile(whole, 0.5), Unit: "ms", Note: note})
	b.report.add(figure{Name: "one change, write sent → gate acts on it, p99", Value: quantile(whole, 0.99), Unit: "ms", Aim: 100, Note: "the write itself included"})
	b.report.add(figure{Name: "one change, write answered → gate acts on it, p50", Value: quantile(committed, 0.5), Unit: "ms"})
	b.report.add(figure{Name: "one change, write answered → gate acts on it, p99", Value: quantile(committed, 0.99), Unit: "ms", Aim: 100})
}

func (b *bench) awaitMessage(by *http.Client, url, message string) time.Time {
	deadline := time.Now().Add(harness.Patience)
	for time.Now().Before(deadline) {
		request, err := http.NewRequest(http.MethodGet, url, http.NoBody)
		if err != nil {
			b.Fatalf("%v", err)
		}
		answer, err := harness.Send(by, request)
		if err != nil {
			b.Fatalf("asking the gate: %v", err)
		}
		if strings.Contains(answer.Body, `"`+message+`"`) {
			return time.Now()
		}
		time.Sleep(200 * time.Microsecond)
	}
	b.Fatalf("%q never showed", message)
	return time.Time{}
}
