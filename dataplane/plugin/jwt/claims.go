package jwt

import (
	"strconv"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// keyOf returns what the token names its credential by.
func (i *instance) keyOf(ex *exchange.Exchange, t *token) (string, *plugin.Refusal) {
	switch t.key.kind {
	case text:
		if t.key.text == "" {
			return "", i.refusals.emptyKey
		}
		return t.key.text, nil
	case number:
		return exchange.View(strconv.AppendFloat(ex.Bytes(32)[:0], t.key.number, 'f', -1, 64)), nil
	case absent, null:
		return "", i.refusals.noKey
	}
	return "", i.refusals.emptyKey
}

// claims looks at the times of a token whose signature is right.
func (i *instance) claims(ex *exchange.Exchange, t *token) *plugin.Refusal {
	now := float64(ex.Start.Unix())
	exp, nbf := "", ""
	switch {
	case !i.exp:
	case t.exp.kind != number:
		exp = mustBeNumber
	case t.exp.number <= now:
		exp = hasExpired
	}
	switch {
	case !i.nbf:
	case t.nbf.kind != number:
		nbf = mustBeNumber
	case t.nbf.number > now:
		nbf = isEarly
	}
	switch {
	case exp == hasExpired && nbf == "":
		return i.refusals.expired
	case exp == "" && nbf == isEarly:
		return i.refusals.early
	case exp != "" || nbf != "":
		wrong := map[string]string{}
		for claim, what := range map[string]string{"exp": exp, "nbf": nbf} {
			if what != "" {
				wrong[claim] = what
			}
		}
		return refusal(wrong, i.refusals.challenge)
	case i.longest > 0 && (t.exp.kind != number || t.exp.number-now > i.longest):
		return i.refusals.tooLong
	}
	return nil
}

// What is wrong with a time.
const (
	mustBeNumber = "must be a number"
	hasExpired   = "token expired"
	isEarly      = "token not valid yet"
)
