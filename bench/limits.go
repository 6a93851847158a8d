package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/app/mockapi"
	"github.com/kontorhq/kontor/internal/platform/destinations"
)

// limited is two nodes, each a process of its own, an API that turns away what is over its limit, and somebody's own program that
// queues the tasks.
type limited struct {
	*bench
	program *program
	nodes   []*serve
	api     *process
	url     string                         // of the API
	seen    map[int]mockapi.SummaryOfLimit // the worst of all rounds, by the limit
	later   map[int]float64                // the least share of the limit that was used after its first fill
}

// The limits by the second, and how many tasks are worked off under each.
var limitedCases = []struct{ rate, tasks int }{{2_000, 20_000}, {500, 5_000}, {50, 1_000}}

const (
	openDestination = "open" // has no limits
	firstBytesMean  = time.Second / 300
	firstBytePath   = "/sent-at/"
)

// measureLimits proves at full size that two nodes keep to the limit of an API and use it, and how soon a task's request is there.
func (b *bench) measureLimits(ctx context.Context) error {
	url, err := b.database(ctx, "limits")
	if err != nil {
		return err
	}
	p, err := openProgram(ctx, url)
	if err != nil {
		return err
	}
	defer p.close()
	l := &limited{bench: b, program: p, seen: map[int]mockapi.SummaryOfLimit{}, later: map[int]float64{}}
	if err := l.startAPI(ctx); err != nil {
		return err
	}
	defer l.api.stop()
	for _, name := range []string{"serve-limits-a", "serve-limits-b"} {
		node, err := b.startServe(ctx, name, url, "--roles", "worker")
		if err != nil {
			return err
		}
		defer node.stop()
		l.nodes = append(l.nodes, node)
	}
	if err := p.createDestination(ctx, openDestination, destinations.Settings{BaseURL: l.url}); err != nil {
		return err
	}
	for _, c := range limitedCases {
		if err := l.keepTo(ctx, c.rate, max(int(float64(c.tasks)*b.options.scale), c.rate)); err != nil {
			return err
		}
	}
	const aim = "p50 below 5 ms, p99 below 25 ms"
	f := &figure{Part: partLimits, Name: "enqueue to the first byte at the API", Size: int(time.Second / firstBytesMean), sized: "/s=", Aim: aim}
	if err := b.measure(ctx, "limits, first byte", []*subject{{figure: f, take: l.firstBytes}}); err != nil {
		return err
	}
	b.noteMemory(partLimits, l.nodes[0])
	return b.verify(ctx, partLimits, url)
}

func (l *limited) startAPI(ctx context.Context) error {
	path, err := l.build(ctx)
	if err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	l.url = "http://" + address
	if l.api, err = l.startProcess("mock-api", path, []string{"mock-api", "--listen", address}, nil); err != nil {
		return err
	}
	return l.api.awaitOK(ctx, l.url+"/_mock/summary")
}

// keepTo works off n tasks under a limit, and adds to the report what the API says of it.
func (l *limited) keepTo(ctx context.Context, rate, n int) error {
	what := fmt.Sprintf("limits, %s a second", grouped(float64(rate)))
	if !strings.Contains(what, l.options.match) {
		return nil
	}
	name := "api-" + strconv.Itoa(rate)
	err := l.program.createDestination(ctx, name, destinations.Settings{
		BaseURL: l.url, RateLimits: []destinations.RateLimit{{Name: "second", Limit: int64(rate), PeriodSeconds: 1}},
	})
	if err != nil {
		return err
	}
	f := &figure{
		Part: partLimits, Name: fmt.Sprintf("work off %s tasks, two nodes", grouped(float64(n))), Size: rate, sized: "R=",
		Aim: "no error, which is a refusal", short: "two nodes",
	}
	err = l.measure(ctx, what, []*subject{{figure: f, take: func(ctx context.Context, w window) (sample, error) {
		return l.workOff(ctx, w, name, rate, n)
	}}})
	if err != nil {
		return err
	}
	part, seen := fmt.Sprintf("at R=%d: ", rate), l.seen[rate]
	l.report.Checks = append(l.report.Checks,
		check{
			Part: partLimits, Name: part + "most arrivals in any second, wherever it begins", Value: strconv.Itoa(seen.ArrivalsInWindow),
			Aim: "at most " + strconv.Itoa(rate), OK: seen.ArrivalsInWindow <= rate,
		},
		check{
			Part: partLimits, Name: part + "least share of R used, from the first arrival to the last; after the first R",
			Value: fmt.Sprintf("%.1f %%; %.1f %%", 100*seen.RateUsed, 100*l.later[rate]), Aim: "at least 95 %", OK: seen.RateUsed >= 0.95,
		})
	return nil
}

// workOff queues n tasks in one transaction, while the nodes wait for work, and counts until the last of them is done. Refusals
// count as errors.
func (l *limited) workOff(ctx context.Context, w window, destination string, rate, n int) (sample, error) {
	err := l.limit(ctx, mockapi.Limits{Limits: []mockapi.Limit{{Count: rate, Period: time.Second}}})
	if err != nil {
		return sample{}, err
	}
	w.count = time.Duration(n/rate) * time.Second
	profiled := l.nodes[0].profile(ctx, w)
	if err := l.program.enqueue(ctx, destination, n); err != nil {
		return sample{}, err
	}
	watch, since := l.watchAll(l.api.pid, l.nodes[0].pid, l.nodes[1].pid), time.Now()
	if err := l.awaitArrivals(ctx, n); err != nil {
		return sample{}, err
	}
	out := sample{done: n, elapsed: time.Since(since), cpu: watch.read()}
	s, err := l.summary(ctx)
	if err != nil {
		return out, err
	}
	if s.Effects != int64(n) || s.DuplicateEffects != 0 {
		return out, fmt.Errorf("%d tasks had %d effects at the API, and %d of those twice", n, s.Effects, s.DuplicateEffects)
	}
	out.errors = int(s.Refused)
	l.remember(rate, s)
	return out, profiled()
}

// remember keeps the worst. R requests may come at once, which is more in a short time than R says: what came after them took a
// second for every R.
func (l *limited) remember(rate int, s mockapi.Summary) {
	seen, later := s.Limits[0], (float64(s.Accepted)/float64(rate)-1)/s.Seconds
	if before, known := l.seen[rate]; known {
		seen.ArrivalsInWindow = max(seen.ArrivalsInWindow, before.ArrivalsInWindow)
		seen.RateUsed, later = min(seen.RateUsed, before.RateUsed), min(later, l.later[rate])
	}
	l.seen[rate], l.later[rate] = seen, later
}

// limit has the API forget everything, and be as strict as is said.
func (l *limited) limit(ctx context.Context, limits mockapi.Limits) error {
	body, err := json.Marshal(limits)
	if err != nil {
		return err
	}
	return errors.Join(l.control(ctx, http.MethodPut, "limits", body), l.control(ctx, http.MethodPost, "reset", nil))
}

func (l *limited) control(ctx context.Context, method, what string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, method, l.url+"/_mock/"+what, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("set up the API: %w", err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("set up the API: %s", answer.Status)
	}
	return nil
}

// ask reads what the API tells of itself.
func (l *limited) ask(ctx context.Context, what string, into any) error {
	status, body, err := get(ctx, l.url+"/_mock/"+what)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("answered %d", status)
	}
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		return fmt.Errorf("ask the API: %w", err)
	}
	return nil
}

func (l *limited) summary(ctx context.Context) (s mockapi.Summary, err error) {
	return s, l.ask(ctx, "summary", &s)
}

const tasksLeftSQL = `select count(*) from task_live`

// awaitArrivals waits until the API has accepted n requests and no task is left.
func (l *limited) awaitArrivals(ctx context.Context, n int) error {
	const patience = 30 * time.Second // without any progress
	last, moved := int64(-1), time.Now()
	for {
		s, err := l.summary(ctx)
		if err != nil {
			return err
		}
		left := 0
		if s.Accepted >= int64(n) {
			if err := l.program.db.Pool().QueryRow(ctx, tasksLeftSQL).Scan(&left); err != nil {
				return fmt.Errorf("count the tasks: %w", err)
			}
			if left == 0 {
				return nil
			}
		}
		switch progress := s.Accepted - int64(left); {
		case progress != last:
			last, moved = progress, time.Now()
		case time.Since(moved) > patience:
			return fmt.Errorf("the API has accepted %d of %d requests, and no more for %v", s.Accepted, n, patience)
		}
		if sleep(ctx, 20*time.Millisecond); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// firstBytes is from a call that queues a task, in a process of its own, to the arrival of the task's request at the API. The
// calls come at uneven times, and none waits for an earlier one. Those of the first second do not count: nodes that had nothing to
// do look more rarely whether another process has queued anything.
func (l *limited) firstBytes(ctx context.Context, w window) (sample, error) {
	if err := l.limit(ctx, mockapi.Limits{}); err != nil {
		return sample{}, err
	}
	perSecond := int(time.Second / firstBytesMean)
	n := max(int(2*w.count/firstBytesMean), 1)
	errs := make(chan error, perSecond+n)
	var watch cpuWatch
	var since time.Time
	next := time.Now()
	for i := range cap(errs) {
		if i == perSecond {
			watch, since = l.watchAll(l.api.pid, l.nodes[0].pid, l.nodes[1].pid), time.Now()
		}
		go func() { errs <- l.program.enqueueOne(ctx, openDestination) }()
		next = next.Add(firstBytesMean/2 + rand.N(firstBytesMean))
		sleep(ctx, time.Until(next)) // where one sleep was too long, the next are shorter
	}
	out := sample{done: n, elapsed: time.Since(since), cpu: watch.read()}
	var err error
	for range cap(errs) {
		if failed := <-errs; err == nil {
			err = failed
		}
	}
	if err == nil {
		err = l.awaitArrivals(ctx, cap(errs))
	}
	if err != nil {
		return out, err
	}
	out.latencies, err = l.latencies(ctx, since)
	return out, err
}

// latencies reads from the API's record when each request was queued, which its path says, and when it arrived.
func (l *limited) latencies(ctx context.Context, from time.Time) ([]time.Duration, error) {
	var out []time.Duration
	for after := int64(0); ; {
		var page mockapi.RecordPage
		if err := l.ask(ctx, fmt.Sprintf("record?limit=10000&after=%d", after), &page); err != nil || len(page.Arrivals) == 0 {
			return out, err
		}
		for _, a := range page.Arrivals {
			after = a.Number
			nanoseconds, err := strconv.ParseInt(strings.TrimPrefix(a.Path, firstBytePath), 10, 64)
			if err != nil {
				return out, fmt.Errorf("read the path of a request: %w", err)
			}
			if queued := time.Unix(0, nanoseconds); !queued.Before(from) {
				out = append(out, a.At.Sub(queued))
			}
		}
	}
}
