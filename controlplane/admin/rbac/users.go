package rbac

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/access"
	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// user is a row that opened. Who it is and what they may stands in the sealed part alone.
type user struct {
	access.Authority

	id, comment          string
	createdAt, updatedAt int64
}

// userOf reads a row. The name that it is found by stands in clear, and has to be the sealed one: whoever writes the database could
// else give their own row the name of somebody who is about to be given a role.
func userOf(m *configv1.RbacUser) (user, error) {
	authority, err := access.ParseAuthority(m.GetAuthority())
	if err == nil && m.GetName() != authority.Name {
		err = errRenamed
	}
	if err != nil {
		return user{}, fault.New(fault.Corrupt, "rbac.read", tableUsers+"/"+m.GetId(), err)
	}
	return user{authority, m.GetId(), m.GetComment(), m.GetCreatedAt(), m.GetUpdatedAt()}, nil
}

var errRenamed = errors.New("the row of a user bears another name than was sealed in it")

// shown is a user as Kong shows one. Of the token it shows nothing: it is there once, when it is made.
func (u user) shown() map[string]any {
	body := map[string]any{
		"id": u.id, "name": u.Name, "comment": nil, "enabled": u.Enabled, "expires": nil, "created_at": u.createdAt, "updated_at": u.updatedAt,
	}
	if u.comment != "" {
		body["comment"] = u.comment
	}
	if u.Expires != 0 {
		body["expires"] = u.Expires
	}
	return body
}

// one finds a user by name or id.
func (c *Control) one(ctx context.Context, key string) (user, error) {
	if _, err := uuid.Parse(key); err == nil && len(key) == 36 {
		m, err := c.catalog.Get(ctx, catalog.Address{Table: tableUsers, Key: key})
		if fault.KindOf(err) == fault.NotFound {
			err = rest.NotFound()
		}
		if err != nil {
			return user{}, err
		}
		return userOf(m.(*configv1.RbacUser))
	}
	page, err := c.catalog.List(ctx, catalog.Query{Table: tableUsers, Where: map[string]string{"name": key}})
	switch {
	case err != nil:
		return user{}, err
	case len(page.Undecryptable) > 0:
		return user{}, page.Undecryptable[0].Err
	case len(page.Entities) == 0:
		return user{}, rest.NotFound()
	}
	return userOf(page.Entities[0].(*configv1.RbacUser))
}

// listUsers shows a page of users. A row that does not open fails it: who may what is not told in part.
func (c *Control) listUsers(r *rest.Request) (rest.Answer, error) {
	size, err := rest.SizeOf(r.URL.Query())
	if err != nil {
		return rest.Answer{}, err
	}
	after, err := rest.AfterOf(r.URL.Query())
	if err != nil {
		return rest.Answer{}, err
	}
	page, err := c.catalog.List(r.Context(), catalog.Query{Table: tableUsers, Size: size, After: after})
	if err != nil {
		return rest.Answer{}, err
	}
	if len(page.Undecryptable) > 0 {
		return rest.Answer{}, page.Undecryptable[0].Err
	}
	data := make([]map[string]any, len(page.Entities))
	for i, m := range page.Entities {
		u, err := userOf(m.(*configv1.RbacUser))
		if err != nil {
			return rest.Answer{}, err
		}
		data[i] = u.shown()
	}
	body := map[string]any{"data": data, "next": nil}
	if page.More {
		offset := rest.EncodeOffset([]string{page.Last})
		body["offset"], body["next"] = offset, "/rbac/users?"+url.Values{"offset": {offset}, "size": {strconv.Itoa(size)}}.Encode()
	}
	return rest.JSON(http.StatusOK, body), nil
}

func (c *Control) showUser(r *rest.Request) (rest.Answer, error) {
	u, err := c.one(r.Context(), r.Param(0))
	return rest.JSON(http.StatusOK, u.shown()), err
}

// makeUser names somebody, without a role, and shows their token. Whom the one-time token makes is a super-admin.
func (c *Control) makeUser(r *rest.Request) (rest.Answer, error) {
	doc, err := read(r, "name", "comment", "enabled", "expires")
	if err != nil {
		return rest.Answer{}, err
	}
	name, _ := doc["name"].(string)
	enabled, err := boolean(doc, "enabled", true)
	if err != nil {
		return rest.Answer{}, err
	}
	expires, err := expiry(doc, 0, time.Now())
	if err != nil {
		return rest.Answer{}, err
	}
	if name == access.HostName {
		return rest.Answer{}, schema.FieldViolation("name", "is taken by the token of the host")
	}
	token := access.NewToken()
	u := user{Authority: access.Authority{Name: name, TokenHash: access.HashToken(token), Enabled: enabled, Expires: expires}}
	if caller, _ := access.Of(r.Context()); caller.IsFirst() {
		u.id, u.Enabled, u.Grants = firstID(), true, []access.Grant{{Role: access.SuperAdmin, Workspace: access.Everywhere}}
	}
	if err := c.record(r.Context(), "rbac.user.create", name, u.Authority); err != nil {
		return rest.Answer{}, err
	}
	if u, err = c.insert(r.Context(), u, doc["comment"]); err != nil {
		return rest.Answer{}, err
	}
	body := u.shown()
	body["user_token"] = token
	return rest.JSON(http.StatusCreated, body), nil
}

func (c *Control) insert(ctx context.Context, u user, comment any) (user, error) {
	authority, err := u.Encode()
	if err != nil {
		return user{}, fault.New(fault.Internal, "rbac.insert", tableUsers, err)
	}
	if comment == "" { // as a form says null
		comment = nil
	}
	doc := schema.Document{"name": u.Name, "comment": comment, "token_hash": u.TokenHash, "authority": authority}
	if u.id != "" {
		doc["id"] = u.id
	}
	if u.Name == "" { // the schema says what is missing
		delete(doc, "name")
	}
	m, err := c.catalog.Insert(ctx, catalog.Address{Table: tableUsers}, doc)
	if err != nil {
		return user{}, err
	}
	if u.id != "" {
		c.endFirst()
	}
	return userOf(m.(*configv1.RbacUser))
}

// change lets edit change a user as they are when it is written: of two changes, on two nodes too, neither undoes the other.
func (c *Control) change(ctx context.Context, key, action string, edit func(*user) error) (user, error) {
	found, err := c.one(ctx, key)
	if err != nil {
		return user{}, err
	}
	m, err := c.catalog.Change(ctx, catalog.Address{Table: tableUsers, Key: found.id}, func(present proto.Message) (schema.Document, error) {
		u, err := userOf(present.(*configv1.RbacUser))
		if err != nil {
			return nil, err
		}
		if err := edit(&u); err != nil {
			return nil, err
		}
		authority, err := u.Encode()
		if err != nil {
			return nil, fault.New(fault.Internal, "rbac.change", tableUsers, err)
		}
		doc := schema.Document{"token_hash": u.TokenHash, "authority": authority, "comment": nil}
		if u.comment != "" {
			doc["comment"] = u.comment
		}
		return doc, c.record(ctx, action, u.Name, u.Authority)
	})
	if err != nil {
		return user{}, err
	}
	return userOf(m.(*configv1.RbacUser))
}

func (c *Control) changeUser(r *rest.Request) (rest.Answer, error) {
	doc, err := read(r, "comment", "enabled", "expires")
	if err != nil {
		return rest.Answer{}, err
	}
	u, err := c.change(r.Context(), r.Param(0), "rbac.user.update", func(u *user) (err error) {
		if text, given := doc["comment"]; given {
			u.comment, _ = text.(string)
		}
		if u.Enabled, err = boolean(doc, "enabled", u.Enabled); err != nil {
			return err
		}
		u.Expires, err = expiry(doc, u.Expires, time.Now())
		return err
	})
	return rest.JSON(http.StatusOK, u.shown()), err
}

// renewToken makes another token; the one before is nobody's from then on. It holds as long as the one before would have, or as is said.
func (c *Control) renewToken(r *rest.Request) (rest.Answer, error) {
	doc, err := read(r, "expires")
	if err != nil {
		return rest.Answer{}, err
	}
	token := access.NewToken()
	u, err := c.change(r.Context(), r.Param(0), "rbac.token.renew", func(u *user) (err error) {
		now := time.Now()
		if u.Expires, err = expiry(doc, u.Expires, now); err != nil {
			return err
		}
		if u.Expired(now) {
			return schema.FieldViolation("expires", "the token before has expired; say until when the new one holds, or null")
		}
		u.TokenHash = access.HashToken(token)
		return nil
	})
	body := u.shown()
	body["user_token"] = token
	return rest.JSON(http.StatusCreated, body), err
}

// removeUser does so also when the row does not open.
func (c *Control) removeUser(r *rest.Request) (rest.Answer, error) {
	key := r.Param(0)
	if _, err := uuid.Parse(key); err != nil {
		u, err := c.one(r.Context(), key)
		if err != nil {
			return rest.NoContent(), ignoreMissing(err)
		}
		key = u.id
	}
	if err := c.record(r.Context(), "rbac.user.delete", r.Param(0), access.Authority{}); err != nil {
		return rest.Answer{}, err
	}
	return rest.NoContent(), c.catalog.Delete(r.Context(), catalog.Address{Table: tableUsers, Key: key})
}

// ignoreMissing: a DELETE of what is not there is no error, as everywhere in the API.
func ignoreMissing(err error) error {
	if refusal, ok := err.(*rest.Refusal); ok && refusal.Status == http.StatusNotFound {
		return nil
	}
	return err
}

// record writes what a user will be before they are.
func (c *Control) record(ctx context.Context, action, name string, a access.Authority) error {
	if c.options.Journal == nil {
		return nil
	}
	var grants []string
	for _, g := range a.Grants {
		grants = append(grants, string(g.Role)+"@"+g.Workspace)
	}
	slices.Sort(grants)
	if len(name) > 128 {
		name = name[:128]
	}
	detail := []string{"enabled", fmt.Sprint(a.Enabled), "grants", fmt.Sprint(grants)}
	if a.Expires != 0 {
		detail = append(detail, "expires", time.Unix(a.Expires, 0).UTC().Format(time.RFC3339))
	}
	return c.options.Journal.Record(ctx, action, fmt.Sprintf("user/%+q", name), detail...)
}
