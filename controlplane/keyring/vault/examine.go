package vault

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

// steps of an examination are those of the client, and what was read.
var steps = [...]vaultclient.Step{
	vaultclient.StepDNS, vaultclient.StepTCP, vaultclient.StepTLS, vaultclient.StepServer, vaultclient.StepLogin, vaultclient.StepRead,
}

// Examine goes the way that a sync goes, and changes nothing.
func (k *Keeper) Examine(ctx context.Context) []finding.Finding {
	area := "Vault " + k.client.Address()
	e := &examination{keeper: k}
	e.look(ctx)
	var list []finding.Step
	before := []string(nil)
	for _, step := range steps {
		if step == vaultclient.StepLogin && e.unasked() {
			before = nil
		}
		list = append(list, finding.Step{Name: name(step), Needs: before, Do: func(context.Context) finding.Result { return e.result(step) }})
		before = []string{name(step)}
	}
	list = append(list, finding.Step{Name: "keys", Needs: before, Do: func(context.Context) finding.Result { return e.keys() }})
	return finding.Run(ctx, area, list)
}

// name is the step's in a report.
func name(step vaultclient.Step) string {
	if step == vaultclient.StepLogin {
		return "authentication"
	}
	return string(step)
}

type examination struct {
	keeper  *Keeper
	token   vaultclient.Token
	lookErr error // of looking at the token
	reading *reading
	err     error
}

func (e *examination) look(ctx context.Context) {
	session, err := e.keeper.login(ctx, secret.Bytes{})
	if err != nil {
		e.err = err
		return
	}
	defer func() {
		_ = session.Close(ctx) // the token ends by itself
		e.keeper.client.Close()
	}()
	e.token, e.lookErr = session.Lookup(ctx)
	e.reading, e.err = e.keeper.read(ctx, session, func(int, string) (version, bool) { return version{}, false })
	if e.err == nil {
		e.reading.wipe()
	}
}

// failed is the step at which the examination ended, "" when it came to the end.
func (e *examination) failed() vaultclient.Step {
	step := vaultclient.StepOf(e.err)
	switch {
	case e.err == nil:
		return ""
	case e.err == errNoToken:
		return vaultclient.StepLogin
	case step == vaultclient.StepAddress:
		return vaultclient.StepServer // it points elsewhere
	case step == vaultclient.StepRead && fault.KindOf(e.err) == fault.Denied && fault.KindOf(e.lookErr) == fault.Denied && e.lookErr != nil:
		return vaultclient.StepLogin // a token that may not even look at itself
	case step == "":
		return vaultclient.StepServer
	}
	return step
}

// unasked: there was nothing to log in with, so that nobody was asked.
func (e *examination) unasked() bool {
	kind := fault.KindOf(e.err)
	return e.err == errNoToken || vaultclient.StepOf(e.err) == vaultclient.StepLogin && (kind == fault.Invalid || kind == fault.Unavailable)
}

func (e *examination) result(step vaultclient.Step) finding.Result {
	if failed := e.failed(); failed == step {
		if e.err == errNoToken {
			return finding.Beware("no keyring_vault_token is set: keys are missing until somebody gives one for the moment", "set keyring_vault_token_file, or run keepgate-cp keyring vault-sync --token-file FILE after each start")
		}
		return finding.Bad(textOf(e.err), e.keeper.mend(e.err))
	} else if failed != "" && (e.unasked() || slices.Index(steps[:], step) > slices.Index(steps[:], failed)) {
		return finding.Because(name(failed))
	}
	switch step {
	case vaultclient.StepTLS:
		return finding.Fine("the certificate is trusted")
	case vaultclient.StepServer:
		return finding.Fine("unsealed and active")
	case vaultclient.StepLogin:
		return e.life()
	case vaultclient.StepRead:
		return finding.Fine("%s: %d versions, the newest %d", e.keeper.place(), len(e.reading.versions), e.reading.current)
	}
	return finding.Fine("%s", e.keeper.client.Address())
}

func (e *examination) life() finding.Result {
	switch {
	case e.keeper.options.Auth == AuthKubernetes:
		return finding.Fine("role %s", e.keeper.options.KubeRole)
	case e.lookErr != nil:
		return finding.Fine("a token that may not look at itself")
	case e.token.TTL == 0:
		return finding.Fine("a token that does not expire")
	case e.keeper.options.Poll > e.token.TTL:
		return finding.Beware(fmt.Sprintf("the token lives for %s and Vault is polled every %s", e.token.TTL, e.keeper.options.Poll), "give it a longer life, or set keyring_vault_poll to less")
	}
	return finding.Fine("a token that lives until %s", time.Now().Add(e.token.TTL).UTC().Format(time.RFC3339))
}

// keys looks at what the versions hold.
func (e *examination) keys() finding.Result {
	good := map[string]bool{}
	for _, v := range e.reading.versions {
		newest := v.number == e.reading.current
		switch {
		case newest && v.gone != "":
			return finding.Beware(fmt.Sprintf("version %d, the newest, is %s: the active key stays", v.number, v.gone), "vault kv undelete it, or write another: "+e.keeper.put())
		case v.refused != "" && newest:
			return finding.Bad(fmt.Sprintf("version %d, the newest: %s", v.number, v.refused), "write another: "+e.keeper.put())
		case v.refused != "":
			return finding.Beware(fmt.Sprintf("version %d: %s", v.number, v.refused), "destroy it, or leave it: it is not used")
		case v.short && v.gone == "":
			return finding.Beware(fmt.Sprintf("version %d has a short key, which may be guessed", v.number), "write another: "+e.keeper.put())
		}
		if v.good() {
			good[v.id] = true
		}
	}
	newest := e.reading.newest()
	if newest == nil {
		return finding.Bad("there is no version", "write one: "+e.keeper.put())
	}
	return finding.Fine("%d keys; %s is to be the active one", len(good), newest.id)
}
