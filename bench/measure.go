package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// subject is something that is measured: a figure, and how one round of it is taken.
type subject struct {
	figure *figure
	take   func(ctx context.Context, w window) (sample, error)
	beside *subject // what the figure is compared with, in the same group
	last   sample   // of the latest round
	ratios []float64
	rounds []sample
}

// window is how long a round warms up and then counts.
type window struct {
	warm, count time.Duration
	profile     string // file for a CPU profile of kontor serve over the round; may be empty
}

// sample is what one round has counted.
type sample struct {
	done      int // transfers, requests: what PerSecond counts
	errors    int
	elapsed   time.Duration
	latencies []time.Duration // of a transaction or a request; sorted
	cpu       cpuTimes        // used while counting
	lanes     []laneTime      // of kontor serve
	whole     bool            // it counts though the round ends with an error: what went wrong came after it
}

func (s sample) perSecond() float64 { return float64(s.done) / s.elapsed.Seconds() }

// perItem is what a duration comes to for each thing done.
func (s sample) perItem(d time.Duration) float64 {
	return float64(d.Nanoseconds()) / 1000 / float64(max(s.done, 1))
}

func (s sample) percentile(p float64) float64 {
	if len(s.latencies) == 0 {
		return 0
	}
	i := min(int(p*float64(len(s.latencies))), len(s.latencies)-1)
	return float64(s.latencies[i].Microseconds()) / 1000
}

// measure takes rounds of all subjects in turn, and adds their figures to the report; when a round fails, those of the rounds before it.
func (b *bench) measure(ctx context.Context, what string, group []*subject) error {
	if !strings.Contains(what, b.options.match) {
		return nil
	}
	err := b.takeRounds(ctx, what, group)
	for _, s := range group {
		if len(s.rounds) > 0 {
			s.summarise()
			b.report.Figures = append(b.report.Figures, s.figure)
		}
	}
	return err
}

func (b *bench) takeRounds(ctx context.Context, what string, group []*subject) error {
	count := time.Duration(b.options.seconds * float64(time.Second))
	for round := range b.options.rounds {
		b.note("%s, round %d of %d", what, round+1, b.options.rounds)
		for _, s := range group {
			w := window{warm: min(count/4, 500*time.Millisecond), count: count}
			if round == b.options.rounds-1 {
				w.profile = b.profilePath(s.figure)
			}
			taken, err := s.take(ctx, w)
			if err == nil {
				err = ctx.Err()
			}
			if err == nil || taken.whole {
				s.add(taken)
			}
			if err != nil {
				return fmt.Errorf("%s, %s: %w", what, s.figure.Name, err)
			}
		}
	}
	return nil
}

// add takes a round.
func (s *subject) add(taken sample) {
	slices.Sort(taken.latencies)
	s.last, s.rounds = taken, append(s.rounds, taken)
	if s.beside != nil {
		s.ratios = append(s.ratios, taken.perSecond()/s.beside.last.perSecond())
	}
}

// summarise makes the rounds a figure: of each number the median.
func (s *subject) summarise() {
	f := s.figure
	over := func(of func(sample) float64) float64 {
		values := make([]float64, len(s.rounds))
		for i, r := range s.rounds {
			values[i] = of(r)
		}
		return median(values)
	}
	f.PerSecond = over(sample.perSecond)
	f.P50 = over(func(r sample) float64 { return r.percentile(.50) })
	f.P99 = over(func(r sample) float64 { return r.percentile(.99) })
	f.Lanes = s.last.lanes
	f.CPU = cpuFigures{
		Kontor:   over(func(r sample) float64 { return r.perItem(r.cpu.server) }),
		Postgres: over(func(r sample) float64 { return r.perItem(r.cpu.postgres) }),
		Client:   over(func(r sample) float64 { return r.perItem(r.cpu.client) }),
		Provider: over(func(r sample) float64 { return r.perItem(r.cpu.provider) }),
		Others:   over(func(r sample) float64 { return 100 * r.cpu.others.Seconds() / r.cpu.machine.Seconds() }),
	}
	for _, r := range s.rounds {
		f.Rounds = append(f.Rounds, r.perSecond())
		f.Errors += r.errors
	}
	if s.beside != nil {
		f.Beside, f.besideShort, f.Ratio = s.beside.figure.Name, s.beside.figure.short, median(s.ratios)
	}
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// alone measures one writer: it repeats a transaction of n transfers for as long as the window says.
func (b *bench) alone(ctx context.Context, w window, n int, transaction func(context.Context) error) (sample, error) {
	for began := time.Now(); time.Since(began) < w.warm; {
		if err := transaction(ctx); err != nil {
			return sample{}, err
		}
	}
	out := sample{latencies: make([]time.Duration, 0, 1<<14)}
	watch := b.watch(0, 0)
	for began := time.Now(); out.elapsed < w.count; out.elapsed = time.Since(began) {
		since := time.Now()
		if err := transaction(ctx); err != nil {
			return sample{}, err
		}
		out.latencies = append(out.latencies, time.Since(since))
		out.done += n
	}
	out.cpu = watch.read()
	return out, nil
}
