package cachestore

// Mark is a purge. Workspace is whose it is; Plugin and Key narrow it.
type Mark struct{ ID, Workspace, Plugin, Key string }

func (m Mark) labels() Labels { return LabelsOf(m.Workspace, m.Plugin, m.Key) }

// done is a purge that was done, as the number-th.
type done struct {
	Mark
	number uint64
}

// maxDone is how many purges are remembered beside those that are still held. Beyond it the disk begins anew.
const maxDone = 4096

// Hold does those of a workspace's purges that were not done yet. When it returns, nothing that they are for is found any more, after
// a crash and a restart neither, and no value is kept that was asked for before. Marks are all that the workspace has now.
func (c *Cache) Hold(workspace string, marks []Mark) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.held[workspace] = marks
	c.catchUp()
}

// catchUp does what is held and was not done. The lock is held.
func (c *Cache) catchUp() {
	d := c.disk.Load()
	if d != nil {
		d.mu.Lock() // what is written from here on bears the new number
		defer d.mu.Unlock()
	}
	var undone []Mark
	present := map[string]bool{}
	for _, marks := range c.held {
		for _, m := range marks {
			present[m.ID] = true
			if _, did := c.done[m.ID]; !did {
				undone = append(undone, m)
			}
		}
	}
	forgot := c.forget(d, present)
	if len(undone) == 0 && !forgot && (d == nil || !d.unsaved) {
		return
	}
	number := c.count.Load()
	if len(undone) > 0 {
		number = c.count.Add(1) // before anything is looked for: see keep
	}
	for _, m := range undone {
		c.memory.purge(m.labels())
		if d != nil {
			d.purge(m.labels())
		}
		c.done[m.ID] = done{m, number}
	}
	if d != nil {
		d.savePurges(number, c.done)
	}
}

// forget drops purges that nobody holds any more and that nothing on the disk is older than. A workspace that was not heard of since the
// start may still hold its own. The locks are held.
func (c *Cache) forget(d *disk, present map[string]bool) (forgot bool) {
	if d != nil && len(c.done) > maxDone+len(present) {
		d.options.Log.Warn("proxy-cache: the disk begins anew after many purges", "purges", len(c.done))
		d.dropAll()
	}
	for id, one := range c.done {
		if _, heard := c.held[one.Workspace]; heard && !present[id] && (d == nil || !d.olderThan(one.number)) {
			delete(c.done, id)
			forgot = true
		}
	}
	return forgot
}
