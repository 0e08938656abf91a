package plugin

import "github.com/keepgate/keepgate/dataplane/exchange"

// Consumer is who uses a service.
type Consumer struct {
	ID, Username, CustomID string

	Groups []exchange.Group // by name
}

// Consumers finds the consumers of a table. It is read only.
type Consumers struct{ byID, byName, byCustomID map[string]*Consumer }

// NewConsumers makes the index of list.
func NewConsumers(list []*Consumer) *Consumers {
	c := &Consumers{byID: make(map[string]*Consumer, len(list)), byName: make(map[string]*Consumer, len(list)), byCustomID: map[string]*Consumer{}}
	for _, consumer := range list {
		c.byID[consumer.ID] = consumer
		if consumer.Username != "" {
			c.byName[consumer.Username] = consumer
		}
		if consumer.CustomID != "" {
			c.byCustomID[consumer.CustomID] = consumer
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

// WithUsername returns the consumer of that user name, or nil.
func (c *Consumers) WithUsername(name string) *Consumer {
	if c == nil {
		return nil
	}
	return c.byName[name]
}

// WithCustomID returns the consumer of that custom id, or nil.
func (c *Consumers) WithCustomID(id string) *Consumer {
	if c == nil {
		return nil
	}
	return c.byCustomID[id]
}
