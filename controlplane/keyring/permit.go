package keyring

// Act is what an operator, or the ring by itself, may do with keys.
type Act string

// The acts that a strategy may refuse.
const (
	ActFirst      Act = "make the first key" // the ring's own
	ActGenerate   Act = "generate"
	ActImport     Act = "import"
	ActExport     Act = "export"
	ActActivate   Act = "activate"
	ActDeactivate Act = "deactivate"
	ActRemove     Act = "remove"
	ActRecover    Act = "recover"
	ActRewrap     Act = "rewrap"
)

// Restricted is a Keeper under which not every act makes sense, as when keys are made elsewhere.
type Restricted interface {
	// Refuses says why the act is not done under this strategy, and what is done instead; nil when it is.
	Refuses(act Act) error
}

func (r *Ring) permits(act Act) error {
	if restricted, ok := r.keeper.(Restricted); ok {
		return restricted.Refuses(act)
	}
	return nil
}
