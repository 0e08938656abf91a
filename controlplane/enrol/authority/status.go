package authority

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"
)

// expiresSoon is how long before its end an edge authority is told of, in the log and where it is asked for.
const expiresSoon = 60 * 24 * time.Hour

// Status is what may be told of the document.
type Status struct {
	Sequence    uint64       `json:"sequence"`
	Problem     string       `json:"problem,omitempty"` // why the database's document is not what this node goes by
	Notices     []string     `json:"notices"`           // what should be mended
	Authorities []RootStatus `json:"authorities"`
	Edges       []EdgeStatus `json:"edge_authorities"`
}

// RootStatus is an authority. Times are Unix seconds.
type RootStatus struct {
	Fingerprint string   `json:"fingerprint"`
	Subject     string   `json:"subject"`
	State       State    `json:"state"`
	AddedAt     int64    `json:"added_at"`
	RetiredAt   int64    `json:"retired_at,omitempty"`
	NotAfter    int64    `json:"not_after"`
	CRLNumber   string   `json:"crl_number,omitempty"`
	Lacking     []string `json:"lacking"` // who does not believe it yet
	Needing     []string `json:"needing"` // whose certificate is of it alone
}

// EdgeStatus is an edge authority.
type EdgeStatus struct {
	Name      string `json:"name"`
	State     State  `json:"state"`
	Root      string `json:"authority,omitempty"` // fingerprint
	Serial    string `json:"serial,omitempty"`
	CreatedAt int64  `json:"created_at"`
	NotAfter  int64  `json:"not_after,omitempty"`
	Revoked   bool   `json:"revoked,omitempty"`
}

// Status tells how everything stands, and who lacks and needs what.
func (a *Authorities) Status(ctx context.Context) (Status, error) {
	s, now := a.state.Load(), time.Now()
	status := Status{Sequence: s.doc.Sequence, Problem: a.problemNow(), Authorities: []RootStatus{}, Edges: []EdgeStatus{}}
	if status.Notices = a.notices(now); status.Notices == nil {
		status.Notices = []string{}
	}
	for i := range s.doc.Roots {
		r := &s.doc.Roots[i]
		shown := RootStatus{
			Fingerprint: r.id, Subject: subjectOf(r.cert), State: r.State, AddedAt: r.AddedAt, RetiredAt: r.RetiredAt, NotAfter: r.cert.NotAfter.Unix(),
			Lacking: []string{}, Needing: []string{},
		}
		if r.list != nil {
			shown.CRLNumber = r.list.Number.String()
		}
		if r.State != Retired {
			lacking, err := a.lacking(ctx, r)
			if err != nil {
				return Status{}, err
			}
			needing, err := a.needing(ctx, &s.doc, s.doc.family(r.id), nil)
			if err != nil {
				return Status{}, err
			}
			shown.Lacking, shown.Needing = append(shown.Lacking, lacking...), append(shown.Needing, needing...)
		}
		status.Authorities = append(status.Authorities, shown)
	}
	for i := range s.doc.Edges {
		e := &s.doc.Edges[i]
		shown := EdgeStatus{Name: e.Name, State: e.State, Root: e.Root, CreatedAt: e.CreatedAt}
		if e.cert != nil {
			shown.Serial, shown.NotAfter, shown.Revoked = serialOf(e.cert), e.cert.NotAfter.Unix(), s.doc.revoked(e)
		}
		status.Edges = append(status.Edges, shown)
	}
	return status, nil
}

func subjectOf(cert *x509.Certificate) string {
	if cert.Subject.CommonName != "" {
		return fmt.Sprintf("%.100s", cert.Subject.CommonName)
	}
	return fmt.Sprintf("%.100s", cert.Subject.String())
}

// notices lists what should be mended. The texts do not change from one second to the next.
func (a *Authorities) notices(now time.Time) (notices []string) {
	doc := a.state.Load().doc
	say := func(format string, args ...any) { notices = append(notices, fmt.Sprintf(format, args...)) }
	if e := doc.edge(Signing); e != nil {
		const remedy = "keepgate-cp fleet authority create --dir DIR makes the next one"
		switch end := e.cert.NotAfter; {
		case doc.revoked(e):
			say("edge authority %s was revoked: the data planes that it has certified are refused, and none can join; %s", e.Name, remedy)
		case !now.Before(end):
			say("edge authority %s expired %s: the data planes that it has certified are refused, and none can join; %s", e.Name, stamp(end), remedy)
		case end.Sub(now) < expiresSoon:
			say("edge authority %s expires %s, and what it certifies with it; %s", e.Name, stamp(end), remedy)
		}
	}
	for _, r := range doc.Roots {
		if r.State != Retired && r.cert.NotAfter.Sub(now) < expiresSoon {
			say("authority %s (%.16s) expires %s", subjectOf(r.cert), r.id, stamp(r.cert.NotAfter))
		}
	}
	return notices
}

// warn tells the log what should be mended, and whether there was anything.
func (a *Authorities) warn(now time.Time) bool {
	notices := a.notices(now)
	for _, notice := range notices {
		a.options.Log.Warn("certifying data planes: " + notice)
	}
	return len(notices) > 0
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
