package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/platform/tasks"
)

const (
	heldPerSecond = 500
	heldCounted   = 20 * time.Second // the last of a round, which count
	heldSettle    = 5 * time.Second  // of a round in which no transaction is held
	heldTold      = time.Minute      // how often a round says how far it is
	heldWithin    = 1.2
)

// heldOpen measures tasks that come one by one and are worked on, while somebody's transaction keeps everything that is deleted
// meanwhile from being cleaned away, beside the same without it.
func (b *bench) heldOpen(ctx context.Context) error {
	const what = "strain, held open"
	if !strings.Contains(what, b.options.match) {
		return nil
	}
	s, err := b.openStrained(ctx, "held")
	if err != nil {
		return err
	}
	defer s.close()
	held := max(time.Duration(b.options.held*float64(time.Second)), heldCounted)
	figureOf := func(name, aim string) *figure {
		return &figure{Part: partStrain, Name: "enqueue to work, " + name, Size: heldPerSecond, sized: "/s=", short: "none is held", Aim: aim}
	}
	fresh := &subject{figure: figureOf("no transaction is held", ""), take: func(ctx context.Context, _ window) (sample, error) {
		return b.steadily(ctx, s, heldSettle+heldCounted, false)
	}}
	old := &subject{
		figure: figureOf(fmt.Sprintf("one is held for %v", held), "within 20 %"), beside: fresh,
		take: func(ctx context.Context, _ window) (sample, error) { return b.steadily(ctx, s, held, true) },
	}
	err = b.measure(ctx, what, []*subject{fresh, old})
	if len(old.rounds) > 0 {
		b.compareP99("a transaction held open", fresh.figure, old.figure, heldWithin)
	}
	return err
}

// hold begins a transaction that sees everything as it was at its beginning, until release is called.
func hold(ctx context.Context, url string) (release func() error, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("hold a transaction open: %w", err)
	}
	release = func() error { return conn.Close(context.WithoutCancel(ctx)) }
	if _, err := conn.Exec(ctx, `set idle_in_transaction_session_timeout = 0; begin isolation level repeatable read; select count(*) from task`); err != nil {
		return nil, errors.Join(fmt.Errorf("hold a transaction open: %w", err), release())
	}
	return release, nil
}

// steadily is one round: tasks one by one, of which those of the last seconds count.
func (b *bench) steadily(ctx context.Context, s *strained, length time.Duration, holding bool) (sample, error) {
	if err := b.fresh(ctx, &rival{name: "Kontor", pipeline: s}); err != nil {
		return sample{}, err
	}
	release := func() error { return nil }
	if holding {
		var err error
		if release, err = hold(ctx, b.server.URL("held")); err != nil {
			return sample{}, err
		}
	}
	var mu sync.Mutex
	var out sample
	begun := 0
	stop := s.start(ctx, 0, 0, func(_ tasks.Task, waited time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		out.latencies = append(out.latencies, waited)
	})
	loaded, end := context.WithCancel(ctx)
	defer end()
	sent := make(chan error, 1)
	mine := tenant{org: s.org}
	go func() {
		_, err := paced(loaded, heldPerSecond, func(ctx context.Context) error { return mine.queue(ctx, s.tasks, 1) })
		sent <- err
	}()
	for left := length - heldCounted; left > 0 && ctx.Err() == nil; left -= heldTold {
		sleep(ctx, min(left, heldTold))
		mu.Lock()
		b.note("held open: %d begun, %d ended, %v to go", begun+len(out.latencies), s.finished(), max(left-heldTold, 0)+heldCounted)
		begun += len(out.latencies)
		out.latencies = nil
		mu.Unlock()
	}
	watch, since, before := b.watch(0, 0), time.Now(), s.finished()
	sleep(ctx, heldCounted)
	out.elapsed, out.done, out.cpu = time.Since(since), s.finished()-before, watch.read()
	end()
	err := <-sent
	out.whole = err == nil && ctx.Err() == nil
	err = errors.Join(err, stop(), release())
	mu.Lock() // a handler that did not end may yet begin
	defer mu.Unlock()
	return out, err
}
