package tasks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/series"
	"github.com/kontorhq/kontor/internal/kit/seriestest"
)

func (b *bench) measure(node *Tasks) map[string]float64 {
	b.Helper()
	if err := node.Measure(b.Context()); err != nil {
		b.Fatal(err)
	}
	return seriestest.Values(b, node.metrics.gauges)
}

func expect(b *bench, got map[string]float64, want map[string]float64) {
	b.Helper()
	for name, value := range want {
		if is, told := got[name]; !told || is != value {
			b.Errorf("%s is %v, not %v; of %v", name, is, value, got)
		}
	}
}

func TestWhatWaitsIsMeasuredByQueue(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	if got := seriestest.Values(b, node.metrics.gauges); len(got) != 2 {
		t.Errorf("before anything was measured there is %v", got)
	}
	expect(b, b.measure(node), map[string]float64{
		"kontor_task_ready default": 0, "kontor_task_oldest_ready_seconds default": 0, "kontor_task_running default": 0, "kontor_task_waiting default": 0,
	})
	specs := b.specs(8)
	for i := range specs {
		switch {
		case i < 3:
			specs[i].Queue, specs[i].Priority, specs[i].FairnessKey = "emails", i+2, fmt.Sprint(i)
		case i == 7:
			specs[i].After = time.Hour
		}
	}
	b.queue(node, specs...)
	b.exec(`update task_live set due_at = now() - interval '1 hour' where priority = 4`)
	got := b.measure(node)
	expect(b, got, map[string]float64{"kontor_task_ready default": 4, "kontor_task_ready emails": 3})
	if age := got["kontor_task_oldest_ready_seconds emails"]; age < 3600 || age > 3700 {
		t.Errorf("the oldest is %v s old", age)
	}
	if age := got["kontor_task_oldest_ready_seconds default"]; age < 0 || age > 60 {
		t.Errorf("the oldest of the others is %v s old", age)
	}
	b.exec(`delete from task_live`)
	expect(b, b.measure(node), map[string]float64{
		"kontor_task_ready default": 0, "kontor_task_ready emails": 0, "kontor_task_oldest_ready_seconds emails": 0,
	})
}

func TestWhatCannotBeMeasuredIsNotTold(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	b.measure(node)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := node.Measure(ended); err == nil {
		t.Fatal("it was measured")
	}
	for name := range seriestest.Values(b, node.metrics.gauges) {
		if strings.Contains(name, "ready") || strings.Contains(name, "letters") {
			t.Errorf("%s is told", name)
		}
	}
}

func TestWhatIsWorkedOnIsCountedByQueue(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{Workers: 1})
	begun, end := make(chan struct{}, 2), make(chan struct{})
	node.Handle("test", Policy{}, func(context.Context, Task) Verdict { begun <- struct{}{}; <-end; return Succeeded() })
	b.run(node)
	list := b.queue(node, b.specs(2)...)
	<-begun
	b.until("the other one waits", func() bool { return seriestest.Values(b, node.metrics.gauges)["kontor_task_waiting default"] == 1 })
	expect(b, seriestest.Values(b, node.metrics.gauges), map[string]float64{"kontor_task_running default": 1})
	close(end)
	b.untilFinished(list...)
	b.until("nothing is worked on", func() bool { return seriestest.Values(b, node.metrics.gauges)["kontor_task_running default"] == 0 })
	expect(b, seriestest.Values(b, node.metrics.created, node.metrics.wait), map[string]float64{
		"kontor_task_created_total default": 2, "kontor_task_wait_seconds default": 2,
	})
}

func TestAnAttemptsEndIsCountedByWhatFollows(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	node.Handle("test", Policy{MaxAttempts: 2, MinBackoff: time.Millisecond}, func(context.Context, Task) Verdict {
		return Retry("broken", errors.New("no luck"))
	})
	expect(b, seriestest.Values(b, node.metrics.dead, node.metrics.retries), map[string]float64{
		"kontor_task_dead_letters_total test max_attempts": 0, "kontor_task_dead_letters_total http poison": 0, "kontor_task_retries_total http": 0,
	})
	b.run(node)
	list := b.queue(node, b.specs(3)...)
	b.untilFinished(list...)
	b.until("all ends are counted", func() bool {
		return seriestest.Values(b, node.metrics.dead)["kontor_task_dead_letters_total test max_attempts"] == 3
	})
	expect(b, seriestest.Values(b, node.metrics.attempts, node.metrics.retries, node.metrics.duration), map[string]float64{
		"kontor_task_attempts_total test failed": 6, "kontor_task_retries_total test": 3, "kontor_task_duration_seconds test": 6,
	})
	expect(b, b.measure(node), map[string]float64{"kontor_task_dead_letters_open default": 3})
}

func TestQueuesAreNamedUpToABound(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	for i := range 2 * queueNamesMax {
		node.metrics.ofQueue(fmt.Sprint(i)).created.Inc()
	}
	got := seriestest.Values(b, node.metrics.created)
	if others := "kontor_task_created_total " + series.Other; len(got) != queueNamesMax+1 || got[others] != queueNamesMax+1 {
		t.Errorf("there are %d series, and %v others", len(got), got[others])
	}
}
