package auditcmd

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strconv"

	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/audit/heads"
	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/proof"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// evidence is what was gathered before any chain is read: a head that is newer than a chain looks like a cut.
type evidence struct {
	client  *adminclient.Client // who gives the chains
	cluster string
	chains  []string // nodes that have one
	held    []heads.Held
	early   []audit.Finding // what was wrong already while gathering
}

// gather asks all nodes, and reads all files, for heads.
func (a asked) gather(ctx context.Context) (*evidence, error) {
	e := &evidence{}
	urls := a.urls
	if len(urls) == 0 {
		urls = []string{a.admin.URL}
	}
	for _, at := range urls {
		options := *a.admin
		options.URL = at
		client, err := options.Open()
		if err != nil {
			return nil, err
		}
		if err := e.ask(ctx, client); err != nil {
			return nil, err
		}
	}
	for _, path := range a.files {
		held, damage, err := heads.Read(path)
		if err != nil {
			return nil, err
		}
		e.held = append(e.held, held...)
		for _, what := range damage {
			e.early = append(e.early, audit.Finding{Node: path, Kind: audit.Unverified, Text: "the file of heads is damaged: " + what})
		}
	}
	return e, nil
}

// ask takes over what one node holds.
func (e *evidence) ask(ctx context.Context, client *adminclient.Client) error {
	var answer struct {
		Cluster, Node string
		Chains        []struct{ Node string }
		Data          []json.RawMessage
	}
	if err := client.Call(ctx, "GET", "/audit/heads", "", nil, &answer); err != nil {
		return err
	}
	if e.client == nil {
		e.client, e.cluster = client, answer.Cluster
	}
	if answer.Cluster != e.cluster {
		return fmt.Errorf("node %s serves the database %s, the first node %s: ask nodes of one control plane",
			harmless(answer.Node), harmless(answer.Cluster), harmless(e.cluster))
	}
	for _, c := range answer.Chains {
		e.chains = append(e.chains, c.Node)
	}
	for _, text := range answer.Data {
		h, err := heads.ParseHeld(text)
		if err != nil {
			e.early = append(e.early, audit.Finding{Node: answer.Node, Kind: audit.Unverified, Text: "it shows a head that is none: " + err.Error()})
			continue
		}
		e.held = append(e.held, h)
	}
	return nil
}

// strangers names the databases, other than the one that is served, whose heads are held. Who writes a
// database can make it look like a new one.
func (e *evidence) strangers() (found []audit.Finding) {
	named := map[string]bool{}
	for _, h := range e.held {
		if h.Cluster == e.cluster || named[h.Node+" "+h.Cluster] {
			continue
		}
		named[h.Node+" "+h.Cluster] = true
		found = append(found, audit.Finding{
			Node: h.Node, Kind: audit.Missing,
			Text: "a head is held of its journal in the database " + h.Cluster + ", which is not the one that is served; when that was meant, take the head out of the file of heads (audit_heads_path)",
		})
	}
	return found
}

// prove checks who signed the heads, and leaves out those that nobody proves: they say nothing of the chain.
func (e *evidence) prove(witness *proof.Witness) []audit.Finding {
	if witness == nil {
		return e.early
	}
	p := proving{witness, map[string]string{}, map[string]bool{}, e.early}
	e.held = slices.DeleteFunc(e.held, func(h heads.Held) bool { return !p.believes(h) })
	return p.found
}

// proving is the state of a check of signatures.
type proving struct {
	witness *proof.Witness
	signers map[string]string // by node
	noted   map[string]bool
	found   []audit.Finding
}

func (p *proving) believes(h heads.Held) bool {
	if len(h.Proof) == 0 {
		p.note(h, "heads of it are not signed: the node has, or had, no certificate")
		return true
	}
	id, err := p.witness.Proven(heads.Context, h.Message(), h.Proof, proof.Ever, identity.ControlPlane)
	if refusal, ok := errors.AsType[*verdict.Refusal](err); ok && refusal.Reason == verdict.Revoked {
		p.note(h, "heads of it are signed by a certificate that is revoked now: "+fault.Text(err))
		return true // they were heard before; who could revoke it gains nothing by it
	}
	if err == nil && h.From != "" && h.From != id.String() {
		err = fmt.Errorf("%s signed it, and %s was heard saying it", id, h.From)
	}
	if signer := p.signers[h.Node]; err == nil && signer != "" && signer != id.String() {
		err = fmt.Errorf("%s signed it, and %s others of this node", id, signer)
	}
	if err != nil {
		p.found = append(p.found, audit.Finding{
			Node: h.Node, First: h.Sequence, Newest: h.Sequence, Kind: audit.Unverified,
			Text: fmt.Sprintf("the head of entry %d is not proved: %s", h.Sequence, fault.Text(err)),
		})
		return false
	}
	p.signers[h.Node] = id.String()
	return true
}

// note says a thing once for each node.
func (p *proving) note(h heads.Held, text string) {
	if !p.noted[h.Node+text] {
		p.noted[h.Node+text] = true
		p.found = append(p.found, audit.Finding{Node: h.Node, Kind: audit.Unproven, Text: text})
	}
}

// nodes lists all that have a chain, or had one.
func (e *evidence) nodes() []string {
	nodes := slices.Clone(e.chains)
	for _, h := range e.held {
		if h.Cluster == e.cluster {
			nodes = append(nodes, h.Node)
		}
	}
	return sorted(nodes)
}

func (e *evidence) headsOf(node string) (count int) {
	for _, h := range e.held {
		if h.Node == node && h.Cluster == e.cluster {
			count++
		}
	}
	return count
}

// chain downloads one chain, page by page.
func (e *evidence) chain(ctx context.Context, node string, count *int) iter.Seq2[record.AuditEntry, error] {
	return func(yield func(record.AuditEntry, error) bool) {
		query, after := url.Values{"node": {node}, "size": {strconv.Itoa(maxPage)}}, uint64(0)
		for more := true; more; {
			var page struct {
				Data []struct {
					Node, Body, Hash string
					Sequence         uint64
					At               int64
				}
			}
			if err := e.client.Call(ctx, "GET", "/audit/chain?"+query.Encode(), "", nil, &page); err != nil {
				yield(record.AuditEntry{}, err)
				return
			}
			last := uint64(0)
			for _, link := range page.Data {
				*count++
				last = max(last, link.Sequence)
				hash, err := hex.DecodeString(link.Hash)
				if err != nil {
					hash = nil
				}
				if !yield(record.AuditEntry{Node: link.Node, Sequence: link.Sequence, At: link.At, Body: []byte(link.Body), Hash: hash}, nil) {
					return
				}
			}
			more = len(page.Data) == maxPage && last > after // a node that lies could go round for ever
			after = last
			query.Set("after", strconv.FormatUint(after, 10))
		}
	}
}
