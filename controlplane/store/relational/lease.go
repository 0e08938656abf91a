package relational

import (
	"context"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
)

// PutLease writes a node's lease over whatever is stored.
func (s *Store) PutLease(ctx context.Context, node string, body []byte) error {
	subject := "control_planes/" + node
	if node == "" {
		return s.invalid("PutLease", subject, "a lease needs a node")
	}
	ctx, cancel := s.brief(ctx)
	defer cancel()
	return s.change(ctx, "PutLease", subject, nil, "INSERT INTO "+s.dialect.table("control_planes")+
		" (id, at, body) VALUES (?, "+s.dialect.Now+", ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at, body = excluded.body",
		node, string(body))
}

// Leases reads all leases. One that the database's clock has not come to, since the clock was put back, is
// as good as new: who waits for a node to be gone waits longer, which harms nobody.
func (s *Store) Leases(ctx context.Context) ([]record.Lease, error) {
	ctx, cancel := s.brief(ctx)
	defer cancel()
	result, err := s.query(ctx, "SELECT id, "+s.dialect.Now+" - at, body FROM "+s.dialect.table("control_planes")+" ORDER BY id")
	if err != nil {
		return nil, s.fault(ctx, "Leases", "", err)
	}
	defer result.Close()
	var leases []record.Lease
	for result.Next() {
		var lease record.Lease
		var age int64
		if err := result.Scan(&lease.Node, &age, &lease.Body); err != nil {
			return nil, s.fault(ctx, "Leases", "", err)
		}
		lease.Age = time.Duration(max(0, age)) * time.Millisecond
		leases = append(leases, lease)
	}
	return leases, s.fault(ctx, "Leases", "", result.Err())
}

// DropLeases deletes the lease of a node, and those older than an age.
func (s *Store) DropLeases(ctx context.Context, node string, olderThan time.Duration) error {
	ctx, cancel := s.brief(ctx)
	defer cancel()
	statement, arguments := "DELETE FROM "+s.dialect.table("control_planes")+" WHERE id = ?", []any{node}
	if olderThan > 0 {
		statement, arguments = statement+" OR at < "+s.dialect.Now+" - ?", append(arguments, olderThan.Milliseconds())
	}
	return s.change(ctx, "DropLeases", "control_planes/"+node, nil, statement, arguments...)
}
