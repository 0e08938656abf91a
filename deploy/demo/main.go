// Command demo shows Keepgate's whole story on one machine: a secret goes in at the control plane, rests encrypted,
// reaches the gate as something that only verifies, and guards real requests, with or without the control plane.
//
// It runs the real binaries as a user would, in a temporary folder and on loopback alone, prints every command with
// its real output, and checks each step. Then it stays, so that one can go on by hand; with DEMO_EXIT=1 it ends, and
// with status 0 only if every step held. deploy/demo/run starts it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	bin := flag.String("bin", "bin", "the folder of keepgate-cp and keepgate-dp")
	file := flag.String("file", "deploy/demo/keepgate.yaml", "the declarative file to push")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := demonstrate(ctx, *bin, *file, os.Getenv("DEMO_EXIT") != ""); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

func demonstrate(ctx context.Context, bin, file string, leave bool) (err error) {
	folder, err := os.MkdirTemp("", "keepgate-demo-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	d, err := newDemo(ctx, folder, bin, file)
	if err != nil {
		return errors.Join(err, os.RemoveAll(folder))
	}
	defer func() {
		d.endAll()
		err = errors.Join(err, os.RemoveAll(folder))
	}()
	begun := time.Now()
	d.out.title("Keepgate: a secret's way from the control plane to the gate")
	d.out.note("Everything lies in %s and goes away at the end.", folder)
	if err := d.story(); err != nil {
		if ctx.Err() != nil {
			d.out.note("\nStopped.")
			return nil
		}
		d.showLogs()
		return err
	}
	d.out.title(fmt.Sprintf("All %d steps held, in %.1f s", d.out.steps, time.Since(begun).Seconds()))
	if leave {
		return nil
	}
	d.byHand()
	<-ctx.Done()
	d.out.note("\nStopping both planes and the upstream.")
	return nil
}

// demo is what the steps share.
type demo struct {
	ctx          context.Context
	out          *printer
	folder       string // temporary; every command runs in it
	bin          string // absolute
	file         string // the declarative file to push, absolute
	ports        ports
	controlPlane *child
	dataPlane    *child
	upstream     *upstream
	alice        string // the key that the file gives her
}

func newDemo(ctx context.Context, folder, bin, file string) (*demo, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	d := &demo{ctx: ctx, out: newPrinter(os.Stdout), folder: folder, bin: bin}
	if d.ports, err = choosePorts(); err != nil {
		return nil, err
	}
	if err := d.prepareFile(file); err != nil {
		return nil, err
	}
	if d.upstream, err = serveUpstream(d.ports.upstream); err != nil {
		return nil, err
	}
	if err := d.writeSettings(); err != nil {
		d.upstream.stop()
		return nil, err
	}
	return d, nil
}

func (d *demo) endAll() {
	d.dataPlane.end(syscall.SIGTERM)
	d.controlPlane.end(syscall.SIGTERM)
	d.upstream.stop()
}

func (d *demo) showLogs() {
	for _, name := range []string{"cp", "dp"} {
		text, err := os.ReadFile(filepath.Join(d.folder, name+".log"))
		if err != nil {
			continue
		}
		d.out.note("\nthe end of %s.log:\n%s", name, text[max(0, len(text)-4000):])
	}
}
