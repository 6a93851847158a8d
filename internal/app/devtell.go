package app

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/kontorhq/kontor/client"
	"github.com/kontorhq/kontor/internal/kit/clock"
)

// tell says what there is: the first time the story is played, later what was kept; then how to go on.
func (d *dev) tell(ctx context.Context) {
	api, err := client.New(d.app.URL(), d.key)
	if err == nil {
		err = writeSecret(filepath.Join(d.dir, devURLFile), d.app.URL()+"\n") // beside the key, for verbs that speak to it
	}
	if err != nil {
		d.say("  ✗ the client could not be made: %s\n", err)
		return
	}
	d.say("  sandbox provider      %s/witness/summary knows what was really charged\n", d.witness)
	d.say("  API and workers       %s\n\n", d.app.URL())
	there, err := d.whatIsThere(ctx, api)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		d.say("  ✗ the API does not answer as it should: %s\n\n", oneLine(err.Error()))
	case there == "" || d.story:
		d.playStory(ctx, api)
	default:
		d.say("Welcome back: %s. (kontor dev --story plays the first run again.)\n\n", there)
	}
	if ctx.Err() == nil {
		d.sayHowToGoOn()
	}
}

func (d *dev) playStory(ctx context.Context, api *client.ClientWithResponses) {
	d.say("A first run, over HTTP like anybody's:\n\n")
	s := &story{api: api, witness: d.witness, now: clock.System, say: d.say}
	err := s.play(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		d.say("\nNot all of it went as it should; %s has more.\n", d.logName())
	}
	d.say("\n")
}

func (d *dev) logName() string {
	if d.verbose {
		return "the log"
	}
	return filepath.Join(d.dir, "kontor.log")
}

// whatIsThere describes the data of earlier starts; empty when there is none.
func (d *dev) whatIsThere(ctx context.Context, api *client.ClientWithResponses) (string, error) {
	limit := client.Limit(100)
	answer, err := api.ListPaymentsWithResponse(ctx, &client.ListPaymentsParams{Limit: &limit})
	if err != nil {
		return "", err
	}
	if answer.JSON200 == nil {
		return "", refusedWith(answer.Status(), answer.ApplicationProblemJSONDefault)
	}
	payments := answer.JSON200.Data
	if len(payments) == 0 {
		return "", nil
	}
	more, open := "", 0
	if answer.JSON200.HasMore {
		more = "more than "
	}
	for _, p := range payments {
		if p.Status == client.PaymentStatusProcessing || p.Status == client.PaymentStatusUnknown {
			open++
		}
	}
	return fmt.Sprintf("%s%d payments are there, %d of them not final yet, the last of %s", more, len(payments), open,
		payments[0].CreatedAt.Local().Format("2006-01-02 15:04")), nil
}

// sayHowToGoOn prints what can be pasted.
func (d *dev) sayHowToGoOn() {
	authorisation := "-H 'Authorization: Bearer " + d.key + "'"
	url := d.app.URL()
	var b strings.Builder
	fmt.Fprintf(&b, "Kontor is running. Ctrl-C stops it.\n\n")
	fmt.Fprintf(&b, "  API       %s, described at %s/docs\n", url, url)
	fmt.Fprintf(&b, "  key       %s\n", d.key)
	fmt.Fprintf(&b, "  admin     %s/metrics, /readyz, /debug/pprof/\n", d.app.AdminURL())
	fmt.Fprintf(&b, "  psql      psql '%s'\n", d.postgres.TCPURL(devDatabase))
	fmt.Fprintf(&b, "  log       %s\n\n", d.logName())
	fmt.Fprintf(&b, "Take a payment; paste it twice and it is still one:\n\n")
	fmt.Fprintf(&b, "  curl -s %s/v1/payments %s \\\n    -H 'Idempotency-Key: try-%s' -H 'Content-Type: application/json' \\\n", url, authorisation,
		client.NewKey()[:6])
	fmt.Fprintf(&b, "    -d '{\"amount\": 1250, \"currency\": \"EUR\", \"payment_method\": \"tok_approved\"}'\n\n")
	fmt.Fprintf(&b, "See the payments, and the books:\n\n")
	fmt.Fprintf(&b, "  curl -s '%s/v1/payments?limit=5' %s\n\n", url, authorisation)
	fmt.Fprintf(&b, "  curl -s %s/v1/ledger/accounts %s\n\n", url, authorisation)
	fmt.Fprintf(&b, "Call an API of somebody's 10,000 times, never over its limit: docs/guides/call-an-api-10000-times.md\n\n")
	d.say("%s", b.String())
}
