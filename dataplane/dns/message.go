package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// payload is the largest UDP answer that we take: what passes without fragments (RFC 9715).
	payload = 1232
	// maxChain bounds how many aliases lead from a name to its records.
	maxChain = 16
	// maxRecords bounds what is taken of one answer.
	maxRecords = 1024
	// maxTTL bounds what a record may ask for (RFC 8767 §4 allows a cap; a week).
	maxTTL time.Duration = 7 * 24 * time.Hour
)

var (
	errForeign   = errors.New("not an answer to the question")
	errTruncated = errors.New("the answer was cut")
)

// question is one question on the wire.
type question struct {
	name string // rooted, lower case
	kind Type
}

// ask writes the question; plain leaves out EDNS for servers that do not know it.
func (q question) ask(id uint16, plain bool) ([]byte, error) {
	name, err := dnsmessage.NewName(q.name)
	if err != nil {
		return nil, fmt.Errorf("the name %q cannot be asked for: %w", q.name, err)
	}
	b := dnsmessage.NewBuilder(make([]byte, 0, 512), dnsmessage.Header{ID: id, RecursionDesired: true})
	err = errors.Join(
		b.StartQuestions(),
		b.Question(dnsmessage.Question{Name: name, Type: dnsmessage.Type(q.kind), Class: dnsmessage.ClassINET}),
	)
	if !plain {
		var header dnsmessage.ResourceHeader
		err = errors.Join(err, b.StartAdditionals(), header.SetEDNS0(payload, dnsmessage.RCodeSuccess, false),
			b.OPTResource(header, dnsmessage.OPTResource{}))
	}
	if err != nil {
		return nil, fmt.Errorf("asking for %q: %w", q.name, err)
	}
	return b.Finish()
}

// service is an SRV record.
type service struct {
	priority, weight, port uint16
	target                 string
}

// reply is what an answer says to a question.
type reply struct {
	code     dnsmessage.RCode
	end      string // the name that the aliases lead to
	addrs    []netip.Addr
	services []service
	ttl      time.Duration // of everything that led there
	negative time.Duration // how long it holds that there is nothing; below 0 when it does not say
	extra    []resource    // addresses of whatever name
}

// empty says that the name has no records of the type.
func (r *reply) empty() bool { return len(r.addrs) == 0 && len(r.services) == 0 }

// read takes an answer apart. It fails with errForeign when message is not an answer to q with that id, and
// with errTruncated when the rest of it can be had over TCP.
func (q question) read(message []byte, id uint16) (*reply, error) {
	var p dnsmessage.Parser
	header, err := p.Start(message)
	if err != nil || header.ID != id || !header.Response || header.OpCode != 0 {
		return nil, errForeign
	}
	asked, err := p.Question()
	if err != nil || !strings.EqualFold(asked.Name.String(), q.name) || Type(asked.Type) != q.kind || asked.Class != dnsmessage.ClassINET {
		return nil, errForeign
	}
	if err := p.SkipAllQuestions(); err != nil {
		return nil, errForeign
	}
	if header.Truncated {
		return nil, errTruncated
	}
	r := &reply{code: header.RCode, end: q.name, ttl: maxTTL, negative: -1}
	answers, err := section(&p, p.AnswerHeader, p.SkipAnswer)
	if err != nil {
		return nil, fmt.Errorf("reading an answer: %w", err)
	}
	r.follow(q, answers)
	authorities, err := section(&p, p.AuthorityHeader, p.SkipAuthority)
	if err != nil {
		return nil, fmt.Errorf("reading an answer's authorities: %w", err)
	}
	for _, one := range authorities {
		if one.soa != nil { // RFC 2308 §5
			r.negative = min(one.ttl, seconds(one.soa.MinTTL))
		}
	}
	additionals, err := section(&p, p.AdditionalHeader, p.SkipAdditional)
	if err != nil {
		return nil, fmt.Errorf("reading an answer's additions: %w", err)
	}
	for _, one := range append(answers, additionals...) {
		if one.addr.IsValid() {
			r.extra = append(r.extra, one)
		}
	}
	return r, nil
}

// follow goes from the question's name along aliases to its records. Whatever else the answer holds does not count.
func (r *reply) follow(q question, answers []resource) {
	for range maxChain {
		next := ""
		for _, one := range answers {
			if one.owner != r.end {
				continue
			}
			switch {
			case one.kind == q.kind && one.addr.IsValid():
				r.addrs = append(r.addrs, one.addr)
			case one.kind == q.kind && one.service != nil:
				r.services = append(r.services, *one.service)
			case one.kind == CNAME && q.kind != CNAME:
				next = one.alias
			default:
				continue
			}
			r.ttl = min(r.ttl, one.ttl)
		}
		if !r.empty() || next == "" || next == r.end {
			return
		}
		r.end = next
	}
}

// resource is one record, as far as it is one that we know.
type resource struct {
	owner   string
	kind    Type
	ttl     time.Duration
	addr    netip.Addr
	alias   string
	service *service
	soa     *dnsmessage.SOAResource
}

// section reads the records of one section.
func section(p *dnsmessage.Parser, header func() (dnsmessage.ResourceHeader, error), skip func() error) ([]resource, error) {
	var list []resource
	for {
		h, err := header()
		if err == dnsmessage.ErrSectionDone {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Class != dnsmessage.ClassINET || len(list) >= maxRecords {
			if err := skip(); err != nil {
				return nil, err
			}
			continue
		}
		one := resource{owner: strings.ToLower(h.Name.String()), kind: Type(h.Type), ttl: seconds(h.TTL)}
		known, err := one.body(p, h.Type)
		if !known {
			err = skip()
		}
		if err != nil {
			return nil, err
		}
		if known {
			list = append(list, one)
		}
	}
}

// body reads a record's data; known is false when nothing was read.
func (one *resource) body(p *dnsmessage.Parser, kind dnsmessage.Type) (known bool, err error) {
	switch kind {
	case dnsmessage.TypeA:
		r, err := p.AResource()
		one.addr = netip.AddrFrom4(r.A)
		return true, err
	case dnsmessage.TypeAAAA:
		r, err := p.AAAAResource()
		one.addr = netip.AddrFrom16(r.AAAA).Unmap()
		return true, err
	case dnsmessage.TypeCNAME:
		r, err := p.CNAMEResource()
		if err == nil {
			one.alias = strings.ToLower(r.CNAME.String())
		}
		return true, err
	case dnsmessage.TypeSRV:
		r, err := p.SRVResource()
		if err == nil {
			one.service = &service{r.Priority, r.Weight, r.Port, strings.ToLower(r.Target.String())}
		}
		return true, err
	case dnsmessage.TypeSOA:
		r, err := p.SOAResource()
		one.soa = &r
		return true, err
	}
	return false, nil
}

// seconds reads a TTL. One with the highest bit set counts as 0 (RFC 2181 §8).
func seconds(ttl uint32) time.Duration {
	if ttl >= 1<<31 {
		return 0
	}
	return min(time.Duration(ttl)*time.Second, maxTTL)
}
