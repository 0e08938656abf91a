package health

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/keepgate/keepgate/shared/fault"
)

// Plugins are the KMS plugins that a node depends on, as they are checked now.
type Plugins struct {
	Checks []func(ctx context.Context) error // in the order of the configuration; each error tells the cause
	// Each has a path of its own for every plugin: where one of KMS v1 is among them and the configuration is not
	// reloaded by itself. Else one path stands for all, and that also stands when there is none but there may be.
	Each  bool
	MayBe bool
}

// PluginNode is a Node that depends on KMS plugins.
type PluginNode interface{ Plugins() Plugins }

// check is one thing that can be asked by its path.
type check struct {
	name string
	ask  func(ctx context.Context) error
}

// Paths of checks, as Kubernetes has them: /healthz and /readyz say whether this node can do its work, /livez whether a
// restart would help. A plugin that is away is no reason to restart: it would cost the keys that are held.
//
//	/healthz, /readyz                  ping, database, keyring and the KMS plugins
//	/healthz/NAME, /readyz/NAME        one of them, with the cause
//	/livez, /livez/ping                ping
//
// ?exclude=NAME leaves one out, ?verbose shows each.
func checks(mux *http.ServeMux, node Node) {
	ready := func() []check {
		list := []check{ping(), {"database", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			if _, err := node.Head(ctx); err != nil {
				return errors.New("failed to connect to database") // the cause names hosts
			}
			return nil
		}}, {"keyring", func(context.Context) error {
			if why := node.Keyring(); why != "" {
				return errors.New(why)
			}
			return nil
		}}}
		if p, ok := node.(PluginNode); ok {
			list = append(list, p.Plugins().checks()...)
		}
		return list
	}
	for path, list := range map[string]func() []check{
		"healthz": ready, "readyz": ready, "livez": func() []check { return []check{ping()} },
	} {
		mux.HandleFunc("GET /"+path, func(w http.ResponseWriter, r *http.Request) { answerAll(w, r, path, list()) })
		mux.HandleFunc("GET /"+path+"/{name}", func(w http.ResponseWriter, r *http.Request) { answerOne(w, r, list()) })
	}
}

func ping() check { return check{"ping", func(context.Context) error { return nil }} }

// checks are the plugins' checks by their paths.
func (p Plugins) checks() []check {
	var list []check
	for i, ask := range p.Checks {
		list = append(list, check{fmt.Sprintf("kms-provider-%d", i), ask})
	}
	if p.Each {
		return list
	}
	if len(list) == 0 && !p.MayBe {
		return nil
	}
	return []check{{"kms-providers", func(ctx context.Context) error {
		var causes []string
		for i, err := range askAll(ctx, list) {
			if err != nil {
				causes = append(causes, list[i].name+": "+fault.Text(err))
			}
		}
		if len(causes) == 0 {
			return nil
		}
		return errors.New(strings.Join(causes, ", "))
	}}}
}

// askAll asks all at once: several plugins that hang cost the time of one.
func askAll(ctx context.Context, list []check) []error {
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, one := range list {
		wg.Go(func() { errs[i] = one.ask(ctx) })
	}
	wg.Wait()
	return errs
}

func answerOne(w http.ResponseWriter, r *http.Request, list []check) {
	i := slices.IndexFunc(list, func(one check) bool { return one.name == r.PathValue("name") })
	if i < 0 {
		http.NotFound(w, r)
		return
	}
	err := list[i].ask(r.Context())
	if err == nil {
		say(w, http.StatusOK, "ok")
		return
	}
	cause := fault.Text(err)
	if !strings.HasPrefix(cause, "kms-provider-") {
		cause = list[i].name + ": " + cause
	}
	say(w, http.StatusInternalServerError, "internal server error: "+cause+"\n")
}

// answerAll says of each check whether it passed, and of none why not: that is for its own path.
func answerAll(w http.ResponseWriter, r *http.Request, path string, list []check) {
	excluded := r.URL.Query()["exclude"]
	var asked []check
	for _, one := range list {
		if !slices.Contains(excluded, one.name) {
			asked = append(asked, one)
		}
	}
	errs := askAll(r.Context(), asked)
	var lines strings.Builder
	failed, at := false, 0
	for _, one := range list {
		switch {
		case slices.Contains(excluded, one.name):
			fmt.Fprintf(&lines, "[+]%s excluded: ok\n", one.name)
			continue
		case errs[at] == nil:
			fmt.Fprintf(&lines, "[+]%s ok\n", one.name)
		default:
			failed = true
			fmt.Fprintf(&lines, "[-]%s failed: reason withheld\n", one.name)
		}
		at++
	}
	_, verbose := r.URL.Query()["verbose"]
	switch {
	case failed:
		say(w, http.StatusInternalServerError, lines.String()+path+" check failed\n")
	case verbose:
		say(w, http.StatusOK, lines.String()+path+" check passed\n")
	default:
		say(w, http.StatusOK, "ok")
	}
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-cache, private")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // a client that left needs no answer
}
