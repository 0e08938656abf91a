package enrol

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
)

// askTimeout bounds one node's answer.
const askTimeout = 15 * time.Second

// Node is one node of the control plane. Connect prepares a connection, with the certificate of this moment.
type Node struct {
	Address string
	Connect func() (*grpc.ClientConn, error)
}

// Nodes is the [Asker] over the nodes of the control plane.
type Nodes []Node

// Renew implements [Asker]: in random order, until one has issued.
func (n Nodes) Renew(ctx context.Context, request []byte) (*enrolv1.Issued, tls.ConnectionState, error) {
	nodes := slices.Clone(n)
	rand.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	failures := []error{errNobody}
	for _, node := range nodes {
		issued, from, err := node.renew(ctx, request)
		if err == nil {
			return issued, from, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", node.Address, err))
	}
	return nil, tls.ConnectionState{}, errors.Join(failures...)
}

func (n Node) renew(ctx context.Context, request []byte) (*enrolv1.Issued, tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	connection, err := n.Connect()
	if err != nil {
		return nil, tls.ConnectionState{}, err
	}
	defer connection.Close()
	var from peer.Peer
	response, err := enrolv1.NewEnrolServiceClient(connection).Renew(ctx, &enrolv1.RenewRequest{Request: request}, grpc.Peer(&from))
	if err != nil {
		return nil, tls.ConnectionState{}, errors.New(status.Convert(err).Message())
	}
	_, state, err := grpccreds.PeerOf(peer.NewContext(ctx, &from))
	return response.GetIssued(), state, err
}
