package sandbox_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/commerce/payments/providertest"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// conformance tries the sandbox's adapter, or what is made of it.
func conformance(t *testing.T, make func(p *sandbox.Provider) payments.Provider) []string {
	t.Helper()
	b := open(t, sandbox.ServerConfig{})
	return providertest.Flaws(t.Context(), providertest.Bench{
		URL: b.url, At: func(url string) payments.Provider { return make(adapter(t, url, 0)) },
		Currency: "EUR", Approved: "tok_approved", Declined: "tok_fraud", IDs: ids.NewSource(clock.System),
	})
}

func TestTheSandboxsAdapterConforms(t *testing.T) {
	t.Parallel()
	for _, flaw := range conformance(t, func(p *sandbox.Provider) payments.Provider { return p }) {
		t.Error(flaw)
	}
}

// liar is an adapter that says more than it knows.
type liar struct {
	*sandbox.Provider
	send, lookUp map[payments.Result]payments.Result
	twice        bool
}

func (l liar) Send(ctx context.Context, r payments.ProviderRequest) payments.ProviderAnswer {
	a := l.Provider.Send(ctx, r)
	if l.twice && a.Result == payments.ResultSucceeded {
		r.Reference += "x"
		a = l.Provider.Send(ctx, r)
	}
	if lie, is := l.send[a.Result]; is {
		a.Result = lie
	}
	return a
}

func (l liar) LookUp(ctx context.Context, reference string) payments.ProviderAnswer {
	a := l.Provider.LookUp(ctx, reference)
	if lie, is := l.lookUp[a.Result]; is {
		a.Result = lie
	}
	return a
}

func TestAnAdapterThatLiesDoesNotConform(t *testing.T) {
	t.Parallel()
	type lies = map[payments.Result]payments.Result
	for found, l := range map[string]liar{
		"an answer that is lost":                {send: lies{payments.ResultUnknown: payments.ResultDeclined}},
		"nobody listens: ":                      {send: lies{payments.ResultNotSent: payments.ResultDeclined, payments.ResultUnknown: payments.ResultDeclined}},
		"a look-up whose answer is lost":        {lookUp: lies{payments.ResultUnknown: payments.ResultNotFound}},
		"something else answers 200 \"\" to a ": {lookUp: lies{payments.ResultUnknown: payments.ResultNotFound}},
		"a method that is declined":             {send: lies{payments.ResultDeclined: payments.ResultUnknown}},
		"an authorisation":                      {twice: true},
	} {
		flaws := conformance(t, func(p *sandbox.Provider) payments.Provider { l := l; l.Provider = p; return l })
		if !slices.ContainsFunc(flaws, func(flaw string) bool { return strings.HasPrefix(flaw, found) }) {
			t.Errorf("nobody notices %q: %q", found, flaws)
		}
	}
}
