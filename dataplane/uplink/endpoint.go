package uplink

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// Endpoint is one node of the control plane. Address is host:port.
type Endpoint struct {
	Address     string
	Credentials credentials.TransportCredentials
}

// Connect prepares a connection, which is dialled at the first call over it; nil dials straight.
func (e Endpoint) Connect(dial Dial) (*grpc.ClientConn, error) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(e.Credentials), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
	}
	if dial != nil {
		options = append(options, grpc.WithContextDialer(dial))
	}
	connection, err := grpc.NewClient("passthrough:///"+e.Address, options...)
	if err != nil {
		return nil, fmt.Errorf("dialling: %w", err)
	}
	return connection, nil
}
