package simulate

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

// Report is what came of a simulation. The JSON keys are for programs and never change their meaning.
type Report struct {
	PaymentsRequested   int64   `json:"payments_requested"`
	PaymentsFinal       int64   `json:"payments_final"`
	ProviderCharges     int64   `json:"provider_charges"`  // not declined
	DoubleCharges       int64   `json:"double_charges"`    // payments for which money moved more than once
	LostPayments        int64   `json:"lost_payments"`     // acknowledged and gone; or charged, and not in the books; or in the books, and never charged
	AmountMismatches    int64   `json:"amount_mismatches"` // payments of which database, provider and client tell different amounts
	LedgerViolations    int64   `json:"ledger_violations"` // what kontor verify finds, and accounts that the provider's record does not explain
	UnknownLeft         int64   `json:"unknown_left"`
	DuplicatesSent      int64   `json:"duplicates_sent"` // copies of a request sent at the same instant
	FaultsInjected      int64   `json:"faults_injected"`
	NodeKills           int64   `json:"node_kills"`
	DatabaseRestarts    int64   `json:"database_restarts"`
	ThroughputPerSecond float64 `json:"throughput_per_second"` // final payments, over the time in which they were asked for
	P50MS               int64   `json:"p50_ms"`                // from a client's first try to its final answer
	P99MS               int64   `json:"p99_ms"`
	Seed                int64   `json:"seed"`
	OK                  bool    `json:"ok"`

	RequestsSent    int64            `json:"requests_sent"`
	RepeatsSent     int64            `json:"repeats_sent"`    // under a key that was sent before
	AnswersLost     int64            `json:"answers_lost"`    // connections broken, or patience over
	Unavailable     int64            `json:"unavailable"`     // answers that asked for a repeat
	InternalErrors  int64            `json:"internal_errors"` // those of them that explained nothing
	KeysReused      int64            `json:"keys_reused"`     // for another request, and refused
	NonsenseRefused int64            `json:"nonsense_refused"`
	FaultsByKind    map[string]int64 `json:"faults_by_kind"`
	Commands        int64            `json:"commands"` // payments, captures, refunds and voids that got their final answer
	DrivingSeconds  float64          `json:"driving_seconds"`
	Problems        []string         `json:"problems"` // the first of what was found wrong
	ProblemsFound   int64            `json:"problems_found"`
	Kept            string           `json:"kept,omitempty"` // the directory with the logs, when something was wrong or it was asked for

	Ran   bool `json:"-"` // it came to an end
	drove time.Duration
}

// problemsShown bounds how many problems are in the report.
const problemsShown = 20

// check holds all stories against each other, with everything at rest.
func (s *simulation) check(ctx context.Context) error {
	s.Progress.Begin("comparing with the provider", 0)
	records, err := s.readRecords(ctx)
	if err != nil {
		return err
	}
	c := newComparison(records, &s.findings)
	err = s.witness.eachPage(ctx, func(page []sandbox.PaymentTruth) {
		for i := range page {
			c.witnessed(&page[i])
		}
	})
	if err != nil {
		return err
	}
	c.unwitnessed()
	c.clients(s.outcomes)
	r := &s.report
	for _, record := range records {
		if final(record) {
			r.PaymentsFinal++
		} else {
			r.UnknownLeft++
			s.findings.add("%s: it is %s and has something under way", record.shown(), record.Status)
		}
	}
	r.DoubleCharges, r.LostPayments, r.AmountMismatches = c.count(doubleCharge), c.count(lostPayment), c.count(amountMismatch)
	if n := s.witness.summary().DoubleCharges; n > r.DoubleCharges {
		s.findings.add("the provider counts %d double charges, and the comparison %d", n, r.DoubleCharges)
		r.DoubleCharges = n
	}
	return s.prove(ctx, c.truth)
}

// prove checks the books: against what the provider did, and in themselves.
func (s *simulation) prove(ctx context.Context, truth map[string]totals) error {
	books, err := s.checkBooks(ctx, truth)
	if err != nil {
		return err
	}
	proof, err := s.verify(ctx)
	if err != nil {
		return err
	}
	s.report.LedgerViolations = books + proof
	return nil
}

// conclude fills in the rest of the report.
func (s *simulation) conclude() Report {
	r, summary := &s.report, s.witness.summary()
	r.PaymentsRequested, r.ProviderCharges = int64(s.Payments), summary.Charges
	if r.PaymentsFinal != r.PaymentsRequested {
		s.findings.add("%d payments were asked for, and %d are final", r.PaymentsRequested, r.PaymentsFinal)
	}
	r.DuplicatesSent, r.RepeatsSent, r.RequestsSent = s.counts.duplicates.Load(), s.counts.repeats.Load(), s.counts.sent.Load()
	r.AnswersLost, r.Unavailable, r.InternalErrors = s.counts.lost.Load(), s.counts.unavailable.Load(), s.counts.internal.Load()
	r.KeysReused, r.NonsenseRefused = s.counts.reused.Load(), s.counts.nonsense.Load()
	r.FaultsInjected, r.FaultsByKind = faultsInjected(summary), summary.FaultsInjected
	r.NodeKills, r.DatabaseRestarts = s.cluster.kills.Load(), s.counts.crashes.Load()
	r.Commands, r.DrivingSeconds, r.Seed = int64(len(s.times.taken)), round(r.drove.Seconds()), s.Seed
	if r.drove > 0 {
		r.ThroughputPerSecond = round(float64(r.PaymentsFinal) / r.drove.Seconds())
	}
	r.P50MS, r.P99MS = s.times.percentile(50).Milliseconds(), s.times.percentile(99).Milliseconds()
	found := s.findings.all()
	r.ProblemsFound = int64(len(found))
	r.Problems = append([]string{}, found[:min(len(found), problemsShown)]...)
	r.OK = len(found) == 0 && r.DoubleCharges == 0 && r.LostPayments == 0 && r.AmountMismatches == 0 && r.LedgerViolations == 0 && r.UnknownLeft == 0
	r.Ran = true
	return *r
}

// round keeps one decimal place.
func round(f float64) float64 { return float64(int64(f*10+0.5)) / 10 }

// WriteText shows the report to people.
func (r *Report) WriteText(out io.Writer) {
	line := func(label, format string, args ...any) {
		_, _ = fmt.Fprintf(out, "  %-18s %s\n", label, fmt.Sprintf(format, args...))
	}
	_, _ = fmt.Fprintf(out, "%d payments asked for, %d final, seed %d\n", r.PaymentsRequested, r.PaymentsFinal, r.Seed)
	line("provider", "%d charges, %d faults injected", r.ProviderCharges, r.FaultsInjected)
	line("clients", "%d requests, %d repeats, %d duplicates at the same instant, %d answers lost",
		r.RequestsSent, r.RepeatsSent, r.DuplicatesSent, r.AnswersLost)
	line("refused", "%d keys used for something else, %d kinds of nonsense", r.KeysReused, r.NonsenseRefused)
	line("crashes", "%d nodes killed, %d of the database", r.NodeKills, r.DatabaseRestarts)
	line("speed", "%.1f payments/s over %.1f s; a final answer took %d ms (half), %d ms (99 %%)",
		r.ThroughputPerSecond, r.DrivingSeconds, r.P50MS, r.P99MS)
	line("double charges", "%d", r.DoubleCharges)
	line("lost payments", "%d", r.LostPayments)
	line("amount mismatches", "%d", r.AmountMismatches)
	line("ledger violations", "%d", r.LedgerViolations)
	line("unknown left", "%d", r.UnknownLeft)
	for _, p := range r.Problems {
		_, _ = fmt.Fprintf(out, "  ✗ %s\n", strings.TrimSpace(p))
	}
	if more := r.ProblemsFound - int64(len(r.Problems)); more > 0 {
		_, _ = fmt.Fprintf(out, "  … and %d more\n", more)
	}
	if r.OK {
		_, _ = fmt.Fprintln(out, "ok: every effect happened once")
	} else {
		_, _ = fmt.Fprintln(out, "NOT OK")
	}
	if r.Kept != "" {
		_, _ = fmt.Fprintf(out, "kept: %s\n", r.Kept)
	}
}
