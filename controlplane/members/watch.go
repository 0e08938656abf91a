package members

// watch tells the log who comes and goes.
type watch struct {
	live    map[string]bool
	refused map[string]string
}

func (w *watch) tell(m *Members, leases []reading) {
	id, log := m.self().Node, m.options.Log
	live, refused := map[string]bool{}, map[string]string{}
	for _, l := range leases {
		node := l.said.Node
		switch {
		case node == id || l.age >= m.options.Lasts:
		case l.refused != "":
			refused[node] = l.refused
			if w.refused[node] != l.refused {
				log.Error("the lease of a control plane node is refused", "node", node, "reason", l.refused)
			}
		case !l.said.Joining:
			live[node] = true
			if !w.live[node] {
				log.Info("a control plane node lives beside this one", "node", node, "host", l.said.Hostname, "name", l.said.Name)
			}
		}
	}
	for node := range w.live {
		if !live[node] {
			log.Info("a control plane node is gone", "node", node)
		}
	}
	w.live, w.refused = live, refused
}
