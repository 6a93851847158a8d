package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// laneTime is what a lane of kontor serve did during a round, in means.
type laneTime struct {
	Lane   string  `json:"lane"`
	Batch  float64 `json:"batch"` // commands
	Wait   float64 `json:"wait_ms"`
	Commit float64 `json:"commit_ms"`
}

// scrape reads the sums and counts of the lanes from /metrics, by their full names.
func (s *serve) scrape(ctx context.Context) map[string]float64 {
	out := map[string]float64{}
	_, body, err := get(ctx, s.admin+"/metrics")
	if err != nil {
		return out
	}
	for line := range strings.Lines(string(body)) {
		name, value, found := strings.Cut(strings.TrimSpace(line), "} ")
		if found && strings.HasPrefix(name, "kontor_lane_") && !strings.Contains(name, "le=") {
			out[name+"}"], _ = strconv.ParseFloat(value, 64)
		}
	}
	return out
}

// lanesBetween compares two scrapes. Lanes that had nothing to do are left out.
func lanesBetween(before, after map[string]float64) []laneTime {
	var out []laneTime
	for name := range after {
		rest, found := strings.CutPrefix(name, `kontor_lane_batch_size_count{lane="`)
		if !found {
			continue
		}
		lane := strings.TrimSuffix(rest, `"}`)
		mean := func(metric string) float64 {
			label := `{lane="` + lane + `"}`
			count := after[metric+"_count"+label] - before[metric+"_count"+label]
			if count == 0 {
				return 0
			}
			return (after[metric+"_sum"+label] - before[metric+"_sum"+label]) / count
		}
		if batch := mean("kontor_lane_batch_size"); batch > 0 {
			out = append(out, laneTime{lane, batch, 1000 * mean("kontor_lane_wait_seconds"), 1000 * mean("kontor_lane_commit_seconds")})
		}
	}
	slices.SortFunc(out, func(a, b laneTime) int { return strings.Compare(a.Lane, b.Lane) })
	return out
}

// profilePath is where the profile of a figure's last round goes; empty when none was asked for.
func (b *bench) profilePath(f *figure) string {
	if b.options.profileServe == "" {
		return ""
	}
	ext := filepath.Ext(b.options.profileServe)
	name := strings.NewReplacer("POST ", "", " ", "-", "/", "-", ",", "").Replace(f.Name)
	return fmt.Sprintf("%s.%s-%s-%d%s", strings.TrimSuffix(b.options.profileServe, ext), f.Part, strings.Trim(name, "-"), f.Size, ext)
}

// profile has kontor serve profile itself for the length of the window, and waits for it in the function it returns.
func (s *serve) profile(ctx context.Context, w window) (wait func() error) {
	if w.profile == "" {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() {
		seconds := max(int(w.count/time.Second), 1)
		status, body, err := get(ctx, s.admin+"/debug/pprof/profile?seconds="+strconv.Itoa(seconds))
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("answered %d: %s", status, body)
		}
		if err == nil {
			err = os.WriteFile(w.profile, body, 0o644)
		}
		if err != nil {
			err = fmt.Errorf("profile kontor serve: %w", err)
		}
		done <- err
	}()
	return func() error { return <-done }
}
