package plugin

// Consumer is who uses a service.
type Consumer struct{ ID, Username, CustomID string }

// Consumers finds the consumers of a table. It is read only.
type Consumers struct{ byID, byName map[string]*Consumer }

// NewConsumers makes the index of list.
func NewConsumers(list []*Consumer) *Consumers {
	c := &Consumers{byID: make(map[string]*Consumer, len(list)), byName: make(map[string]*Consumer, len(list))}
	for _, consumer := range list {
		c.byID[consumer.ID] = consumer
		if consumer.Username != "" {
			c.byName[consumer.Username] = consumer
		}
	}
	return c
}

// ByID returns the consumer with that id, or nil.
func (c *Consumers) ByID(id string) *Consumer {
	if c == nil {
		return nil
	}
	return c.byID[id]
}

// Named returns the consumer with that id or user name, or nil.
func (c *Consumers) Named(idOrName string) *Consumer {
	if found := c.ByID(idOrName); found != nil || c == nil {
		return found
	}
	return c.byName[idOrName]
}
