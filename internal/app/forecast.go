package app

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontorhq/kontor/client"
)

// importForecast is how long an import would take, by the limits as they are now. What the other side takes for an answer, and what of the
// limits is used up already, is not in it: it is the least.
type importForecast struct {
	Seconds int64  `json:"seconds"` // until the last of them begins
	Ahead   int64  `json:"ahead"`   // tasks that wait in the queue already
	Limit   string `json:"limit,omitempty"`
	Held    string `json:"held,omitempty"` // why nothing is begun now
}

// allowance lets so many begin in any stretch of a period.
type allowance struct {
	limit  int64
	period time.Duration
	says   string
}

// last is when the last of n begins: each limit's worth a period after the one before.
func (a allowance) last(n int64) time.Duration {
	const forever = time.Duration(math.MaxInt64)
	rounds := max(n-1, 0) / a.limit
	if rounds > int64(forever/a.period) {
		return forever
	}
	return time.Duration(rounds) * a.period
}

// slowest is the allowance by which n take longest.
func slowest(list []allowance, n int64) (took time.Duration, by string) {
	for _, a := range list {
		if last := a.last(n); by == "" || last > took {
			took, by = last, a.says
		}
	}
	return took, by
}

// forecast asks a node what n tasks would come up against.
func (s *taskSender) forecast(ctx context.Context, n int64) (importForecast, error) {
	var f importForecast
	var list []allowance
	queue, err := s.api.GetQueueWithResponse(ctx, s.queue)
	switch {
	case err != nil:
		return f, err
	case queue.JSON200 != nil:
		list = append(list, f.ofQueue(queue.JSON200)...)
	case queue.StatusCode() != http.StatusNotFound || s.queue != "default": // which is there without being made
		return f, refusal(queue.ApplicationProblemJSONDefault)
	}
	destination, err := s.api.GetDestinationWithResponse(ctx, s.destination)
	switch {
	case err != nil:
		return f, err
	case destination.JSON200 == nil:
		return f, refusal(destination.ApplicationProblemJSONDefault)
	}
	list = append(list, f.ofDestination(destination.JSON200)...)
	var took time.Duration
	took, f.Limit = slowest(list, n+f.Ahead)
	f.Seconds = int64(math.Ceil(took.Seconds()))
	return f, nil
}

func refusal(p *client.Problem) error {
	if p == nil {
		return errors.New("the API's answer cannot be read")
	}
	return p
}

func (f *importForecast) ofQueue(q *client.Queue) []allowance {
	if q.State == client.QueueStatePaused {
		f.Held = "the queue " + q.Name + " is paused"
	}
	if t := q.Tasks; t != nil {
		f.Ahead = int64(t.Available) + int64(t.Blocked) + int64(t.Retryable)
	}
	pace := time.Duration(float64(time.Second) / q.MaxDispatchesPerSecond)
	return []allowance{{1, pace, fmt.Sprintf("the queue %s begins %v in a second", q.Name, q.MaxDispatchesPerSecond)}}
}

func (f *importForecast) ofDestination(d *client.Destination) []allowance {
	if d.Hold != nil && f.Held == "" {
		f.Held = "the destination " + d.Name + " is held"
	}
	var list []allowance
	for _, l := range d.RateLimits {
		if l.Per != nil && *l.Per == client.RateLimitPerLimitKey {
			continue
		}
		const whole = 1000
		limit := max(1, l.Limit/max(1, pointed(l.Units))*d.LearnedPermille/whole)
		period := time.Duration(l.PeriodSeconds) * time.Second
		list = append(list, allowance{limit, period, fmt.Sprintf("%s allows %d in %s", d.Name, limit, spokenTime(period))})
	}
	return list
}

func pointed[T any](p *T) T {
	var none T
	if p == nil {
		return none
	}
	return *p
}

// sentence says it to people.
func (f importForecast) sentence() string {
	var text string
	switch {
	case f.Limit == "":
		text = "No limit stands in their way: they take what the other side takes."
	case f.Seconds <= 1:
		text = "No limit holds them up for longer than a second."
	default:
		text = fmt.Sprintf("At the limits as they are now, the last of them begins in about %s: %s.", spokenTime(time.Duration(f.Seconds)*time.Second), f.Limit)
	}
	switch {
	case f.Ahead == 1:
		text += " 1 task waits in the queue already."
	case f.Ahead > 1:
		text += fmt.Sprintf(" %d tasks wait in the queue already.", f.Ahead)
	}
	if f.Held != "" {
		text += " Nothing begins now, because " + f.Held + "."
	}
	return text
}

// spokenTime rounds a time to what people say.
func spokenTime(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "days"}, {time.Hour, "hours"}, {time.Minute, "minutes"}, {time.Second, "seconds"}} {
		switch {
		case d == unit.of:
			return "a " + unit.name[:len(unit.name)-1]
		case d >= 2*unit.of:
			return fmt.Sprintf("%d %s", int64(math.Round(d.Seconds()/unit.of.Seconds())), unit.name)
		}
	}
	return d.Round(time.Millisecond).String()
}

// forecast asks the node that an import would be sent to.
func (c *cli) forecast(cmd *cobra.Command, f *importFlags, n int64) (importForecast, error) {
	api, err := c.api(cmd)
	if err != nil {
		return importForecast{}, err
	}
	f.sender.api = api
	return f.sender.forecast(cmd.Context(), n)
}
