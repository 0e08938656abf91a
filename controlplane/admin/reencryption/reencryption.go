// Package reencryption is the re-encryption job's part of the Admin API: start, look, pause, resume, cancel and
// pace. What the job is stands in controlplane/reencrypt.
package reencryption

import (
	"context"
	"net/http"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/reencrypt"
	"github.com/keepgate/keepgate/shared/fault"
)

// Job is the re-encryption; controlplane/reencrypt says what each method promises.
type Job interface {
	Start(ctx context.Context, request reencrypt.Request) (reencrypt.Progress, error)
	Progress(ctx context.Context) (progress reencrypt.Progress, found bool, err error)
	Pause(ctx context.Context) (reencrypt.Progress, error)
	Resume(ctx context.Context) (reencrypt.Progress, error)
	Cancel(ctx context.Context) (reencrypt.Progress, error)
	SetRate(ctx context.Context, rate int) (reencrypt.Progress, error)
}

// API answers for the job.
type API struct {
	job       Job // nil: the keyring is off
	workspace func(ctx context.Context, name string) (id string, err error)
}

// New makes the API; job may be nil where the keyring is off. workspace finds the id of a workspace by its name
// or id.
func New(job Job, workspace func(ctx context.Context, name string) (id string, err error)) *API {
	return &API{job, workspace}
}

// Mount adds all paths.
func (a *API) Mount(t *rest.Table) {
	const path = "/keyring/reencrypt"
	t.Handle("POST", path, a.on(a.start))
	t.Handle("GET", path, a.on(a.progress))
	t.Handle("PATCH", path, a.on(a.pace))
	t.Handle("POST", path+"/pause", a.on(a.turn(Job.Pause)))
	t.Handle("POST", path+"/resume", a.on(a.turn(Job.Resume)))
	t.Handle("POST", path+"/cancel", a.on(a.turn(Job.Cancel)))
}

func (a *API) on(handler rest.Handler) rest.Handler {
	if a.job != nil {
		return handler
	}
	return func(*rest.Request) (rest.Answer, error) {
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "the keyring is off; set keyring_enabled = on and start again")
	}
}

func (a *API) start(r *rest.Request) (rest.Answer, error) {
	given, err := read(r, "to", "table", "workspace", "rate")
	if err != nil {
		return rest.Answer{}, err
	}
	request := reencrypt.Request{Table: given.texts["table"], To: given.texts["to"], Rate: given.rate}
	name := given.texts["workspace"]
	if name == "" {
		name = r.WorkspaceName()
	}
	if name != "" {
		request.Workspace, err = a.workspace(r.Context(), name)
		if fault.KindOf(err) == fault.NotFound {
			err = rest.Refuse(http.StatusNotFound, "Workspace '%s' not found", name)
		}
		if err != nil {
			return rest.Answer{}, err
		}
	}
	progress, err := a.job.Start(r.Context(), request)
	if err != nil {
		return rest.Answer{}, err
	}
	return rest.JSON(http.StatusAccepted, progress), nil
}

func (a *API) progress(r *rest.Request) (rest.Answer, error) {
	progress, found, err := a.job.Progress(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	if !found {
		return rest.Answer{}, rest.Refuse(http.StatusNotFound, "no re-encryption was ever started; POST here starts one")
	}
	return rest.JSON(http.StatusOK, progress), nil
}

func (a *API) pace(r *rest.Request) (rest.Answer, error) {
	given, err := read(r, "rate")
	if err != nil {
		return rest.Answer{}, err
	}
	if !given.paced {
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "rate: required field missing; rows a second, or 0 for no limit")
	}
	progress, err := a.job.SetRate(r.Context(), given.rate)
	if err != nil {
		return rest.Answer{}, err
	}
	return rest.JSON(http.StatusOK, progress), nil
}

func (a *API) turn(change func(Job, context.Context) (reencrypt.Progress, error)) rest.Handler {
	return func(r *rest.Request) (rest.Answer, error) {
		progress, err := change(a.job, r.Context())
		if err != nil {
			return rest.Answer{}, err
		}
		return rest.JSON(http.StatusOK, progress), nil
	}
}
