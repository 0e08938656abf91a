package bus

// ClientAddress returns where the embedded server awaits clients.
func (b *Bus) ClientAddress() string { return b.embedded.server.Addr().String() }
