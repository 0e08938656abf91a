//go:build !unix

package memguard

func protect() []string { return []string{"this system has no call that forbids dumps and is used"} }

func look() Status {
	return Status{CoreDumps: unknown, Reason: "this system has no call for it that is used", Swap: unknown}
}
