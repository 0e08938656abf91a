package stream

import (
	"time"

	"github.com/keepgate/keepgate/controlplane/fleet"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
)

const (
	// storageRetry is when a data plane whose disk failed is asked again, though nothing changed.
	storageRetry = time.Minute
	// maxQuarantined bounds what one data plane may say about entities, and maxDetail each text.
	maxQuarantined = 1000
	maxDetail      = 512
)

// take notes what the data plane says. What this build does not know counts as a sign of life.
func (l *link) take(message *syncv1.StreamRequest) {
	switch m := message.Message.(type) {
	case *syncv1.StreamRequest_Ack:
		l.acked(m.Ack)
	case *syncv1.StreamRequest_Nack:
		l.nacked(m.Nack)
	case *syncv1.StreamRequest_Report:
		l.session.Reported(m.Report.Ready, quarantinedOf(m.Report.Quarantined), keptOf(m.Report.Kept))
		l.trusts(m.Report.TrustSequence)
	default:
		l.session.Seen()
	}
}

// trusts notes which trust the data plane holds; another one may call for other orders.
func (l *link) trusts(sequence uint64) {
	if sequence != l.trust {
		l.trust = sequence
		l.session.Trust(sequence)
		l.orders = l.order()
	}
}

func (l *link) acked(a *syncv1.Ack) {
	if l.flying == nil || !l.flying.version.Is(a.Position) {
		l.server.options.Log.Warn("a data plane acknowledges what it was not sent", "data_plane", l.who.String(),
			"version", a.Position.GetVersion())
		return
	}
	l.held = l.flying.version.Position()
	l.flying, l.chunks, l.refused, l.settled = nil, nil, nil, true
	l.session.Acked(heldOf(l.held), quarantinedOf(a.Quarantined), keptOf(a.Kept))
}

// nacked notes a refusal. What did not fit or could not be read is followed by a whole snapshot once, a full
// disk is asked again after a while, and anything else waits for another version.
func (l *link) nacked(n *syncv1.Nack) {
	if l.flying == nil || n.Position != nil && !l.flying.version.Is(n.Position) {
		return // of an update that is settled already
	}
	sent := l.flying
	l.flying, l.chunks = nil, nil
	switch n.Reason {
	case syncv1.NackReason_NACK_REASON_MISMATCH, syncv1.NackReason_NACK_REASON_MALFORMED:
		l.whole = !sent.whole
	}
	if !l.whole {
		l.refused = &refusal{version: sent.version}
		if n.Reason == syncv1.NackReason_NACK_REASON_STORAGE {
			l.refused.again = time.Now().Add(l.server.options.StorageRetry)
		}
	}
	l.server.options.Log.Warn("a data plane refused an update and goes on with what it has", "data_plane", l.who.String(),
		"version", sent.version.Number, "reason", n.Reason, "detail", cut(n.Detail), "snapshot_follows", l.whole)
	l.session.Nacked(n.Reason.String() + ": " + cut(n.Detail))
}

func quarantinedOf(list []*syncv1.Quarantined) []fleet.Quarantined {
	list = list[:min(len(list), maxQuarantined)]
	out := make([]fleet.Quarantined, 0, len(list))
	for _, q := range list {
		out = append(out, fleet.Quarantined{Kind: cut(q.GetKind()), ID: cut(q.GetId()), Name: cut(q.GetName()), Reason: cut(q.GetReason())})
	}
	return out
}

func keptOf(kept *syncv1.Kept) fleet.Kept {
	return fleet.Kept{Entries: kept.GetEntries(), Lacking: kept.GetLacking()}
}

// cut bounds a text of a data plane, and leaves it valid UTF-8.
func cut(text string) string {
	if len(text) <= maxDetail {
		return text
	}
	end := maxDetail
	for end > 0 && text[end]&0xc0 == 0x80 {
		end--
	}
	return text[:end]
}
