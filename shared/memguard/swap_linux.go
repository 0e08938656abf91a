package memguard

import (
	"io/fs"
	"path"
	"strings"
)

// swap tells where this process's memory may go; of several places the worst.
func swap(root fs.FS) string {
	if swapForbidden(root) {
		return off
	}
	table, err := fs.ReadFile(root, "proc/swaps")
	if err != nil {
		return unknown
	}
	worst := off
	for i, line := range strings.Split(string(table), "\n") {
		fields := strings.Fields(line)
		if i == 0 || len(fields) == 0 { // the heading
			continue
		}
		switch kind := kindOf(root, fields[0]); kind {
		case swapDisk:
			return kind
		case swapEncrypted:
			worst = kind
		case swapMemory:
			if worst == off {
				worst = kind
			}
		}
	}
	return worst
}

// swapForbidden reports whether the cgroup of this process, or one above it, allows no swap (cgroup v2,
// memory.swap.max). In a container the path that is seen may begin at its own cgroup.
func swapForbidden(root fs.FS) bool {
	table, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(table)) {
		at, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/")
		if !ok {
			continue
		}
		for at = path.Join("sys/fs/cgroup", path.Clean(at)); strings.HasPrefix(at, "sys/fs/cgroup"); at = path.Dir(at) {
			if limit, err := fs.ReadFile(root, at+"/memory.swap.max"); err == nil && strings.TrimSpace(string(limit)) == "0" {
				return true
			}
		}
	}
	return false
}

// kindOf tells what a line of /proc/swaps stands on, as far as names and sysfs show it. A file counts as lying on
// a disk in clear: what its file system stands on is not looked for.
func kindOf(root fs.FS, device string) string {
	name, isDevice := strings.CutPrefix(device, "/dev/")
	if !isDevice {
		return swapDisk
	}
	block := "sys/block/" + path.Base(name)
	if strings.HasPrefix(name, "zram") {
		if backing := text(root, block+"/backing_dev"); backing == "" || backing == "none" {
			return swapMemory
		}
		return swapDisk
	}
	if encrypted(root, block, 0) {
		return swapEncrypted
	}
	return swapDisk
}

// maxLayers is how many device-mapper layers are looked through: LVM on LUKS has two.
const maxLayers = 4

// encrypted reports whether a block device is dm-crypt's, or stands on such devices alone.
func encrypted(root fs.FS, block string, layer int) bool {
	if strings.HasPrefix(text(root, block+"/dm/uuid"), "CRYPT-") {
		return true
	}
	below, err := fs.ReadDir(root, block+"/slaves")
	if err != nil || len(below) == 0 || layer == maxLayers {
		return false
	}
	for _, device := range below {
		if !encrypted(root, "sys/block/"+device.Name(), layer+1) {
			return false
		}
	}
	return true
}

func text(root fs.FS, name string) string {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
