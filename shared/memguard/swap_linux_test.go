package memguard

import (
	"testing"
	"testing/fstest"
)

func TestSwapIsToldFromWhatTheKernelShows(t *testing.T) {
	t.Parallel()
	const heading = "Filename\tType\tSize\tUsed\tPriority\n"
	line := func(device string) string { return device + "\tpartition\t1048572\t0\t-2\n" }
	tests := map[string]struct {
		files map[string]string
		want  string
	}{
		"none":      {map[string]string{"proc/swaps": heading}, "off"},
		"no procfs": {nil, "unknown"},
		"partition": {map[string]string{"proc/swaps": heading + line("/dev/sda2")}, "disk"},
		"file":      {map[string]string{"proc/swaps": heading + line("/swapfile")}, "disk"},
		"zram": {map[string]string{
			"proc/swaps": heading + line("/dev/zram0"), "sys/block/zram0/backing_dev": "none\n",
		}, "memory"},
		"zram that writes back": {map[string]string{
			"proc/swaps": heading + line("/dev/zram0"), "sys/block/zram0/backing_dev": "/dev/sda3\n",
		}, "disk"},
		"dm-crypt": {map[string]string{
			"proc/swaps": heading + line("/dev/dm-1"), "sys/block/dm-1/dm/uuid": "CRYPT-PLAIN-swap\n",
		}, "encrypted"},
		"LVM on LUKS": {map[string]string{
			"proc/swaps": heading + line("/dev/dm-1"), "sys/block/dm-1/dm/uuid": "LVM-abc\n",
			"sys/block/dm-1/slaves/dm-0/dev": "", "sys/block/dm-0/dm/uuid": "CRYPT-LUKS2-abc-root\n",
		}, "encrypted"},
		"LVM on LUKS and on a disk": {map[string]string{
			"proc/swaps": heading + line("/dev/dm-1"), "sys/block/dm-1/dm/uuid": "LVM-abc\n",
			"sys/block/dm-1/slaves/dm-0/dev": "", "sys/block/dm-1/slaves/sda4/dev": "", "sys/block/dm-0/dm/uuid": "CRYPT-LUKS2-abc-root\n",
		}, "disk"},
		"a ring of devices": {map[string]string{
			"proc/swaps": heading + line("/dev/dm-1"), "sys/block/dm-1/slaves/dm-1/dev": "",
		}, "disk"},
		"zram before a disk": {map[string]string{
			"proc/swaps": heading + line("/dev/zram0") + line("/dev/sda2"), "sys/block/zram0/backing_dev": "none",
		}, "disk"},
		"encrypted and zram": {map[string]string{
			"proc/swaps": heading + line("/dev/dm-0") + line("/dev/zram0"), "sys/block/dm-0/dm/uuid": "CRYPT-PLAIN-swap",
		}, "encrypted"},
		"forbidden to the service": {map[string]string{
			"proc/swaps": heading + line("/dev/sda2"), "proc/self/cgroup": "0::/system.slice/keepgate-cp.service\n",
			"sys/fs/cgroup/system.slice/keepgate-cp.service/memory.swap.max": "0\n",
		}, "off"},
		"forbidden above it": {map[string]string{
			"proc/swaps": heading + line("/dev/sda2"), "proc/self/cgroup": "0::/kubepods/pod1/container\n",
			"sys/fs/cgroup/kubepods/pod1/container/memory.swap.max": "max\n", "sys/fs/cgroup/kubepods/memory.swap.max": "0\n",
		}, "off"},
		"forbidden to the container": {map[string]string{
			"proc/swaps": heading + line("/dev/sda2"), "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.swap.max": "0\n",
		}, "off"},
		"allowed a little": {map[string]string{
			"proc/swaps": heading + line("/dev/sda2"), "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.swap.max": "4096\n",
		}, "disk"},
		"another cgroup's limit": {map[string]string{
			"proc/swaps": heading + line("/dev/sda2"), "proc/self/cgroup": "0::/../../etc\n", "etc/memory.swap.max": "0\n",
		}, "disk"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := fstest.MapFS{}
			for path, content := range test.files {
				root[path] = &fstest.MapFile{Data: []byte(content)}
			}
			if got := swap(root); got != test.want {
				t.Errorf("swap = %s, want %s", got, test.want)
			}
		})
	}
}

func TestWarningsNameWhatCouldLeak(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status   Status
		warnings int
	}{
		"all is well":                      {Status{CoreDumps: off, Swap: off}, 0},
		"locked beside a disk":             {Status{CoreDumps: off, Swap: swapDisk, Locked: true}, 0},
		"not locked, and a disk":           {Status{CoreDumps: off, Swap: swapDisk}, 1},
		"not locked, and nobody knows":     {Status{CoreDumps: off, Swap: unknown}, 1},
		"not locked, and encrypted":        {Status{CoreDumps: off, Swap: swapEncrypted}, 0},
		"not locked, and swap in memory":   {Status{CoreDumps: off, Swap: swapMemory}, 0},
		"dumps":                            {Status{CoreDumps: on, Swap: off, Locked: true}, 1},
		"dumps, not locked and on a disk":  {Status{CoreDumps: on, Swap: swapDisk}, 2},
		"nobody knows of dumps":            {Status{CoreDumps: unknown, Swap: off}, 0},
		"what was said before is not kept": {Status{CoreDumps: off, Swap: off, Warnings: []string{"old"}}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.status.judged().Warnings; len(got) != test.warnings || got == nil {
				t.Errorf("warnings %q, want %d", got, test.warnings)
			}
		})
	}
}
