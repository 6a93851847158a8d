package simulate

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// The keys are a promise to programs.
func TestTheReportHasItsKeys(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(Report{})
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(text, &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range strings.Split("payments_requested, payments_final, provider_charges, double_charges, lost_payments, amount_mismatches, "+
		"ledger_violations, unknown_left, duplicates_sent, faults_injected, node_kills, database_restarts, throughput_per_second, p50_ms, "+
		"p99_ms, seed, ok", ", ") {
		if _, there := keys[key]; !there {
			t.Errorf("there is no %s in %s", key, text)
		}
	}
}

func TestTheReportForPeople(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := Report{PaymentsRequested: 10, PaymentsFinal: 9, Seed: 7, Problems: []string{"pay_1: it is gone"}, ProblemsFound: 3, Kept: "/somewhere"}
	r.WriteText(&out)
	for _, part := range []string{"seed 7", "✗ pay_1: it is gone", "and 2 more", "NOT OK", "kept: /somewhere"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%q is not in\n%s", part, out.String())
		}
	}
}

func TestPercentiles(t *testing.T) {
	t.Parallel()
	var taken times
	if taken.percentile(99) != 0 {
		t.Error("of nothing")
	}
	for i := range 200 {
		taken.add(time.Duration(200 - i))
	}
	if p50, p99 := taken.percentile(50), taken.percentile(99); p50 != 101 || p99 != 199 {
		t.Errorf("got %d and %d", p50, p99)
	}
}

func TestImpossibleOptions(t *testing.T) {
	t.Parallel()
	wrong := Options{Payments: 0, Concurrency: -1, Nodes: 99, KillEvery: time.Millisecond, KillDatabase: true, DatabaseURL: "postgres://x"}
	_, err := Run(t.Context(), wrong)
	if err == nil {
		t.Fatal("it ran")
	}
	all, ok := err.(interface{ Unwrap() []error })
	if !ok || len(all.Unwrap()) != 5 {
		t.Errorf("got %v", err)
	}
	if errors.Is(err, errEndedEarly) {
		t.Error("something was started")
	}
}
