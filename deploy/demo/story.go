package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// story is all steps, in order. Each shows its commands, checks what it claims, and says what that proves.
func (d *demo) story() error {
	for _, step := range []struct {
		title string
		tell  func() error
	}{
		{"A certificate authority, and the control plane's own certificate", d.authority},
		{"The data plane makes its key; the authority signs", d.enrol},
		{"Both planes start", d.startBoth},
		{"One declarative file goes in, as one transaction", d.push},
		{"Without a key the gate stays shut", d.shut},
		{"With the key it opens", d.open},
		{"What rests in the database", d.database},
		{"What rests on the data plane's disk", d.localStore},
		{"The control plane is killed", d.kill},
		{"The data plane restarts while the control plane is dead", d.restart},
		{"The control plane comes back, and a change arrives", d.change},
	} {
		d.out.step(step.title)
		if err := step.tell(); err != nil {
			return fmt.Errorf("step %d, %s: %w", d.out.steps, strings.ToLower(step.title[:1])+step.title[1:], err)
		}
	}
	return nil
}

func (d *demo) authority() error {
	if _, err := d.run("keepgate-cp certs init --dir certs --with-control-plane"); err != nil {
		return err
	}
	d.out.proves("Both planes will know each other by certificate alone, and revocation has its list from the first day.")
	return nil
}

func (d *demo) enrol() error {
	if _, err := d.run("keepgate-dp certs request --name edge-1 --dir dp/certs"); err != nil {
		return err
	}
	if _, err := d.run("keepgate-cp certs sign dp/certs/cluster.csr --dir certs --name edge-1 --out dp/certs/edge-1.crt"); err != nil {
		return err
	}
	d.out.proves("The private key, which the data plane's disk will be sealed with, never left the data plane.")
	return nil
}

const (
	runCP = "keepgate-cp run -c cp.conf"
	runDP = "keepgate-dp run -c dp.conf"
)

func (d *demo) startCP() (err error) {
	d.controlPlane, err = d.start(runCP, "cp.log", "http://"+address(d.ports.cpStatus)+"/status/ready")
	return err
}

func (d *demo) startBoth() error {
	if err := d.startCP(); err != nil {
		return err
	}
	var err error
	if d.dataPlane, err = d.start(runDP, "dp.log", "http://"+address(d.ports.dpStatus)+"/status"); err != nil {
		return err
	}
	err = d.await("the data plane's link", func() error {
		got, err := d.ask("/clustering/data-planes")
		if err == nil && !strings.Contains(got.body, `"name":"edge-1"`) {
			err = errors.New("the control plane knows no data plane")
		}
		return err
	})
	if err != nil {
		return err
	}
	if _, err := d.admin("/clustering/data-planes", nil); err != nil {
		return err
	}
	d.out.proves("The database made itself (SQLite, keyring on) and edge-1 dialled in over mutual TLS.")
	return nil
}

func (d *demo) push() error {
	if _, err := d.run("keepgate-cp config push keepgate.yaml" + d.adminURL()); err != nil {
		return err
	}
	begun := time.Now()
	err := d.await("the configuration's arrival", func() error {
		got, err := d.knock(d.alice)
		if err == nil && got.status != 200 {
			err = errors.New(got.String())
		}
		return err
	})
	if err != nil {
		return err
	}
	d.out.proves(fmt.Sprintf("Service, route, plugin, consumer and key took effect together, %d ms after the push.", time.Since(begun).Milliseconds()))
	return nil
}

func (d *demo) shut() error {
	before := d.upstream.asked.Load()
	if err := d.expect(401, ""); err != nil {
		return err
	}
	if d.upstream.asked.Load() != before {
		return errors.New("the request reached the upstream")
	}
	d.out.proves("The request never reached the upstream.")
	return nil
}

func (d *demo) open() error {
	if err := d.expect(200, d.alice); err != nil {
		return err
	}
	got, err := d.knock(d.alice)
	if err != nil {
		return fmt.Errorf("asking the gate: %w", err)
	}
	if !strings.Contains(got.body, "hello alice") || !strings.Contains(got.body, "no key") {
		return fmt.Errorf("the upstream was told otherwise: %s", got)
	}
	d.out.proves("The upstream learns who called, and never sees the key.")
	return nil
}

func (d *demo) database() error {
	got, err := d.admin("/consumers/alice/key-auth", nil)
	if err != nil {
		return err
	}
	var page struct{ Data []struct{ ID string } }
	if err := json.Unmarshal([]byte(got.body), &page); err != nil {
		return fmt.Errorf("reading alice's keys: %w", err)
	}
	if len(page.Data) != 1 {
		return fmt.Errorf("alice has %d keys", len(page.Data))
	}
	row, err := d.run("keepgate-cp store show keyauth_credentials " + page.Data[0].ID + " -c cp.conf")
	if err != nil {
		return err
	}
	if !strings.Contains(row, "$ke$1$-") || strings.Contains(row, d.alice) {
		return errors.New("the row is not sealed")
	}
	if err := d.searchPlain("cp"); err != nil {
		return err
	}
	d.out.proves("The key rests as $ke$1$…, sealed for this row alone, and is in no file of the control plane in clear.")
	return nil
}

func (d *demo) localStore() error {
	entries, err := os.ReadDir(filepath.Join(d.folder, "dp", "store"))
	if err != nil {
		return fmt.Errorf("listing the data plane's store: %w", err)
	}
	d.out.command("ls dp/store")
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	d.out.output(strings.Join(names, "  "))
	if err := d.searchPlain("dp"); err != nil {
		return err
	}
	d.out.proves("Not as text, hexadecimal or base64: the data plane never got the key, only a fingerprint to check it by, and sealed even that.")
	return nil
}

func (d *demo) kill() error {
	d.out.command(fmt.Sprintf("kill -9 %d   # keepgate-cp", d.controlPlane.command.Process.Pid))
	d.controlPlane.end(syscall.SIGKILL)
	if err := answers("http://" + address(d.ports.cpStatus) + "/status"); err == nil {
		return errors.New("the control plane still answers")
	}
	if err := errors.Join(d.expect(200, d.alice), d.expect(401, "alice-guesses-the-key")); err != nil {
		return err
	}
	d.out.proves("Traffic goes on, and so does the guard.")
	return nil
}

func (d *demo) restart() error {
	d.out.command(fmt.Sprintf("kill %d   # keepgate-dp", d.dataPlane.command.Process.Pid))
	d.dataPlane.end(syscall.SIGTERM)
	begun := time.Now()
	var err error
	if d.dataPlane, err = d.start(runDP, "dp.log", "http://"+address(d.ports.dpStatus)+"/status/ready"); err != nil {
		return err
	}
	took := time.Since(begun)
	if err := errors.Join(d.expect(200, d.alice), d.expect(401, "")); err != nil {
		return err
	}
	d.out.proves(fmt.Sprintf("It opened its sealed store and served %d ms after its start, with no control plane anywhere.", took.Milliseconds()))
	return nil
}

func (d *demo) change() error {
	const bob = "bob-comes-later-51c0e2"
	if err := d.startCP(); err != nil {
		return err
	}
	if _, err := d.admin("/consumers", url.Values{"username": {"bob"}}); err != nil {
		return err
	}
	if _, err := d.admin("/consumers/bob/key-auth", url.Values{"key": {bob}}); err != nil {
		return err
	}
	err := d.await("bob's key", func() error {
		got, err := d.knock(bob)
		if err == nil && got.status != 200 {
			err = errors.New(got.String())
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := d.expect(200, bob); err != nil {
		return err
	}
	d.out.proves("The data plane linked up again by itself and took the change while it served.")
	return nil
}
