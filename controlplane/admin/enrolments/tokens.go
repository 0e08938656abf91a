package enrolments

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/enrol"
	"github.com/keepgate/keepgate/shared/schema"
)

// token is a join token as it is shown: all of it but what lets somebody join.
type token struct {
	ID          string      `json:"id"`
	Environment string      `json:"environment"`
	Name        *string     `json:"name"`
	State       enrol.State `json:"state"`
	CreatedAt   int64       `json:"created_at"`
	CreatedBy   string      `json:"created_by,omitempty"`
	ExpiresAt   int64       `json:"expires_at"`
	WithdrawnAt *int64      `json:"withdrawn_at"`
	Used        *use        `json:"used"`
	Text        string      `json:"token,omitempty"`   // once, when it is made
	Command     string      `json:"command,omitempty"` // to run at the edge; likewise
	Addresses   []string    `json:"control_plane,omitempty"`
}

type use struct {
	At       int64  `json:"at"`
	From     string `json:"from"`
	Identity string `json:"identity"`
	Serial   string `json:"serial"`
}

func shownToken(t enrol.Token) token {
	s := token{
		ID: t.ID, Environment: t.Environment, State: t.State(time.Now()), CreatedAt: t.CreatedAt, CreatedBy: t.CreatedBy,
		ExpiresAt: t.ExpiresAt, WithdrawnAt: at(t.WithdrawnAt),
	}
	if t.Name != "" {
		s.Name = &t.Name
	}
	if t.Used != nil {
		s.Used = &use{t.Used.At, t.Used.From, t.Used.Identity, t.Used.Serial}
	}
	return s
}

func (a *API) invite(r *rest.Request) (rest.Answer, error) {
	if err := r.Demand("letting a data plane join"); err != nil {
		return rest.Answer{}, err
	}
	given, err := read(r, "environment", "name", "expires")
	if err != nil {
		return rest.Answer{}, err
	}
	in := enrol.Invitation{Environment: given["environment"], Name: given["name"]}
	if in.Environment == "" {
		return rest.Answer{}, schema.FieldViolation("environment", "required field missing")
	}
	if in.Expires, err = period(given["expires"]); err != nil {
		return rest.Answer{}, err
	}
	text, made, err := a.deps.Tokens.Invite(r.Context(), in)
	if err != nil {
		return rest.Answer{}, plainly(err)
	}
	defer text.Wipe()
	shown := shownToken(made)
	shown.Addresses = a.deps.Addresses()
	text.Reveal(func(data []byte) { shown.Text = string(data) })
	shown.Command = "keepgate-dp join --control-plane " + strings.Join(shown.Addresses, ",") + " --token " + shown.Text
	answer := rest.JSON(http.StatusCreated, shown)
	answer.Header = http.Header{"Cache-Control": {"no-store"}}
	return answer, nil
}

func (a *API) tokens(r *rest.Request) (rest.Answer, error) {
	list, unreadable, err := a.deps.Tokens.Tokens(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	data := []token{}
	for _, t := range list {
		data = append(data, shownToken(t))
	}
	return rest.JSON(http.StatusOK, map[string]any{"data": data, "next": nil, "undecryptable": unreadable}), nil
}

func (a *API) withdraw(r *rest.Request) (rest.Answer, error) {
	if err := r.Demand("withdrawing a join token"); err != nil {
		return rest.Answer{}, err
	}
	return rest.NoContent(), plainly(a.deps.Tokens.Withdraw(r.Context(), r.Param(0)))
}

// period reads how long a token may wait: seconds, or as 90m.
func period(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return d, nil
	}
	if seconds, err := json.Number(text).Int64(); err == nil && seconds > 0 && seconds < 1<<31 {
		return time.Duration(seconds) * time.Second, nil
	}
	return 0, schema.FieldViolation("expires", "expected a period as 90m, or seconds")
}
