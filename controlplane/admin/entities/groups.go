package entities

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/schema"
)

const (
	tableMembers   = "consumer_group_consumers"
	tableGroups    = "consumer_groups"
	tableConsumers = "consumers"
	fieldConsumer  = "consumer"
	fieldGroup     = "consumer_group"
)

// side is one end of memberships: the consumers of a group, or the groups of a consumer.
type side struct {
	own, other           *schema.Entity
	ownField, otherField string // of the member
	argument             string // of a body: what is to be joined
	list                 string // of an answer
}

// mountGroups adds what is special about consumer groups: a group is shown with its members, who come and go by name.
func (a *API) mountGroups(t *rest.Table) {
	groups, ok := a.schema.Entity(tableGroups)
	consumers, also := a.schema.Entity(tableConsumers)
	if !ok || !also {
		return
	}
	t.Handle("GET", "/"+tableGroups+"/"+param(groups), func(r *rest.Request) (rest.Answer, error) {
		return a.getGroup(r, place{e: groups})
	})
	for _, s := range []side{
		{groups, consumers, fieldGroup, fieldConsumer, "consumer", "consumers"},
		{consumers, groups, fieldConsumer, fieldGroup, "group", "consumer_groups"},
	} {
		path := "/" + s.own.Path + "/" + param(s.own) + "/" + s.other.Path
		t.Handle("GET", path, func(r *rest.Request) (rest.Answer, error) { return a.listMembers(r, s) })
		t.Handle("POST", path, func(r *rest.Request) (rest.Answer, error) { return a.join(r, s) })
		t.Handle("DELETE", path, func(r *rest.Request) (rest.Answer, error) { return a.leave(r, s, "") })
		t.Handle("DELETE", path+"/"+param(s.other), func(r *rest.Request) (rest.Answer, error) { return a.leave(r, s, r.Param(1)) })
	}
}

// getGroup shows a group, who is in it, and the plugins that are for it. Kong's clients rely on this form.
func (a *API) getGroup(r *rest.Request, p place) (rest.Answer, error) {
	at, err := a.address(r, p)
	if err != nil {
		return rest.Answer{}, err
	}
	group, err := a.catalog.Get(r.Context(), at)
	if err != nil {
		return rest.Answer{}, plainly(err)
	}
	consumers, _ := a.schema.Entity(tableConsumers)
	plugins, _ := a.schema.Entity("plugins")
	answer := object{{"consumer_group", a.schema.Encode(p.e, group)}}
	if r.URL.Query().Get("list_consumers") != "false" {
		s := side{own: p.e, other: consumers, ownField: fieldGroup, otherField: fieldConsumer}
		members, err := a.others(r.Context(), at.Workspace, p.e.ID(group), s)
		if err != nil {
			return rest.Answer{}, err
		}
		answer = append(answer, member{"consumers", array(a.encode(consumers, members))})
	}
	found, err := a.catalog.List(r.Context(), catalog.Query{
		Table: plugins.Table, Workspace: at.Workspace, Refers: map[string]string{fieldGroup: p.e.ID(group)},
	})
	if err != nil {
		return rest.Answer{}, err
	}
	answer = append(answer, member{"plugins", array(a.encode(plugins, found.Entities))})
	return rest.Answer{Status: http.StatusOK, Body: answer.bytes()}, nil
}

// end finds the entity of the path.
func (a *API) end(r *rest.Request, s side) (workspace string, m proto.Message, err error) {
	at, err := a.address(r, place{e: s.own})
	if err != nil {
		return "", nil, err
	}
	m, err = a.catalog.Get(r.Context(), at)
	return at.Workspace, m, plainly(err)
}

func (a *API) listMembers(r *rest.Request, s side) (rest.Answer, error) {
	workspace, own, err := a.end(r, s)
	if err != nil {
		return rest.Answer{}, err
	}
	others, err := a.others(r.Context(), workspace, s.own.ID(own), s)
	if err != nil {
		return rest.Answer{}, err
	}
	return rest.Answer{Status: http.StatusOK, Body: object{{s.list, array(a.encode(s.other, others))}}.bytes()}, nil
}

// others are the entities at the other end of somebody's memberships, by name.
func (a *API) others(ctx context.Context, workspace, own string, s side) ([]proto.Message, error) {
	members, err := a.catalog.List(ctx, catalog.Query{
		Table: tableMembers, Workspace: workspace, Refers: map[string]string{s.ownField: own},
	})
	if err != nil {
		return nil, err
	}
	var found []proto.Message
	for _, m := range members.Entities {
		other, err := a.catalog.Get(ctx, catalog.Address{Table: s.other.Table, Workspace: workspace, Key: otherOf(m, s)})
		if plainly(err) != err {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, err
		}
		found = append(found, other)
	}
	slices.SortStableFunc(found, func(x, y proto.Message) int { return strings.Compare(nameOf(x), nameOf(y)) })
	return found, nil
}

func otherOf(m proto.Message, s side) string {
	of, _ := m.(*configv1.ConsumerGroupMember)
	if s.otherField == fieldConsumer {
		return of.GetConsumer().GetId()
	}
	return of.GetConsumerGroup().GetId()
}

func nameOf(m proto.Message) string {
	switch m := m.(type) {
	case *configv1.Consumer:
		return m.GetUsername()
	case *configv1.ConsumerGroup:
		return m.GetName()
	}
	return ""
}

// join makes members of those that the body names, all of whom must exist. Who is a member already stays one.
func (a *API) join(r *rest.Request, s side) (rest.Answer, error) {
	workspace, own, err := a.end(r, s)
	if err != nil {
		return rest.Answer{}, err
	}
	e, _ := a.schema.Entity(tableMembers)
	doc, err := r.Document(a.schema, e)
	if err != nil {
		return rest.Answer{}, err
	}
	names, err := named(doc, s)
	if err != nil {
		return rest.Answer{}, err
	}
	others := make([]proto.Message, len(names))
	for i, name := range names {
		if others[i], err = a.look(r.Context(), workspace, name, s); err != nil {
			return rest.Answer{}, err
		}
	}
	for _, other := range others {
		_, err := a.catalog.Insert(r.Context(), catalog.Address{Table: tableMembers, Workspace: workspace}, schema.Document{
			s.ownField: map[string]any{"id": s.own.ID(own)}, s.otherField: map[string]any{"id": s.other.ID(other)},
		})
		if err != nil && !isTwice(err) {
			return rest.Answer{}, err
		}
		if err == nil {
			a.wake()
		}
	}
	field := strings.TrimSuffix(s.own.Table, "s")
	return rest.Answer{Status: http.StatusCreated, Body: object{
		{field, a.schema.Encode(s.own, own)}, {s.list, array(a.encode(s.other, others))},
	}.bytes()}, nil
}

// leave ends the membership of one, or of all when other is "".
func (a *API) leave(r *rest.Request, s side, other string) (rest.Answer, error) {
	workspace, own, err := a.end(r, s)
	if err != nil {
		return rest.Answer{}, err
	}
	refers := map[string]string{s.ownField: s.own.ID(own)}
	if other != "" {
		m, err := a.catalog.Get(r.Context(), catalog.Address{Table: s.other.Table, Workspace: workspace, Key: other})
		if err != nil {
			return rest.Answer{}, plainly(err)
		}
		refers[s.otherField] = s.other.ID(m)
	}
	members, err := a.catalog.List(r.Context(), catalog.Query{Table: tableMembers, Workspace: workspace, Refers: refers})
	if err != nil {
		return rest.Answer{}, err
	}
	if other != "" && len(members.Entities) == 0 {
		return rest.Answer{}, rest.NotFound()
	}
	e, _ := a.schema.Entity(tableMembers)
	for _, m := range members.Entities {
		if err := a.catalog.Delete(r.Context(), catalog.Address{Table: tableMembers, Workspace: workspace, Key: e.ID(m)}); err != nil {
			return rest.Answer{}, err
		}
		a.wake()
	}
	return rest.NoContent(), nil
}
