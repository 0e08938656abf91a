package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// searchPlain looks for alice's key in every file below a folder: as bytes, in hexadecimal and in base64. It first
// tries itself on the file that was pushed, where it must find the key.
func (d *demo) searchPlain(folder string) error {
	d.out.command("grep -rcaF " + d.alice + " keepgate.yaml " + folder + "/")
	found, err := d.holding(d.file)
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return errors.New("the search does not find the key where it is")
	}
	d.out.output("keepgate.yaml: found (what was pushed)")
	found, err = d.holding(filepath.Join(d.folder, folder))
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return fmt.Errorf("the key lies in clear in %q", found)
	}
	d.out.output(folder + "/: not found in any file")
	return nil
}

// holding lists the files at or below a path that hold alice's key.
func (d *demo) holding(path string) (found []string, err error) {
	var forms [][]byte
	for _, text := range []string{d.alice, hex.EncodeToString([]byte(d.alice))} {
		forms = append(forms, []byte(text))
	}
	for offset := range 3 { // a base64 text can have it at three offsets; the ends depend on the neighbours
		padded := append(make([]byte, offset), d.alice...)
		encoded := base64.RawStdEncoding.EncodeToString(padded[:len(padded)-len(padded)%3])
		forms = append(forms, []byte(encoded[(offset*8+5)/6:]))
	}
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, form := range forms {
			if bytes.Contains(data, form) {
				found = append(found, name)
				break
			}
		}
		return nil
	})
	return found, err
}

// byHand says how to go on.
func (d *demo) byHand() {
	d.out.line("")
	d.out.line("Both planes keep running. Go on by hand, in another terminal:")
	d.out.line("")
	for _, line := range []string{
		"cd " + d.folder + "; PATH=" + d.bin + ":$PATH",
		d.curl(d.alice),
		"curl -s http://" + address(d.ports.admin) + "/services",
		"curl -s http://" + address(d.ports.admin) + "/keyring",
		"curl -s http://" + address(d.ports.admin) + "/clustering/data-planes",
		"keepgate-cp config dump" + d.adminURL(),
		"keepgate-cp certs show --dir certs",
		"tail cp.log dp.log dp/logs/access.log",
	} {
		d.out.command(line)
	}
	d.out.line("")
	d.out.line("Ctrl-C here ends everything and removes the folder.")
}
