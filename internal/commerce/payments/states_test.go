package payments

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write docs/reference/payment-states.md anew")

// triggers are the triggers that the table knows, in its order.
func triggers() []Trigger {
	var all []Trigger
	for _, t := range Transitions() {
		if !slices.Contains(all, t.Trigger) {
			all = append(all, t.Trigger)
		}
	}
	return all
}

// Every status with every trigger: the table's answer, or an error and no move.
func TestEveryStateMeetsEveryTrigger(t *testing.T) {
	t.Parallel()
	table := map[step]Status{}
	for _, row := range Transitions() {
		if _, twice := table[step{row.From, row.Trigger}]; twice {
			t.Errorf("%q happens to a payment that is %q in two rows", row.Trigger, row.From)
		}
		table[step{row.From, row.Trigger}] = row.To
		if !slices.Contains(append(Statuses(), StatusNone), row.From) || !slices.Contains(Statuses(), row.To) {
			t.Errorf("%q or %q is no status", row.From, row.To)
		}
		if row.By == "" || row.Books == "" {
			t.Errorf("the row of %q and %q does not say everything", row.From, row.Trigger)
		}
	}
	for _, from := range append(Statuses(), StatusNone, "nonsense") {
		for _, trigger := range append(triggers(), "nonsense") {
			want, possible := table[step{from, trigger}]
			if !possible {
				want = from
			}
			payment := Payment{Status: from, Amount: 10, AmountCapturable: 10}
			got, err := Next(from, trigger)
			if got != want || (err == nil) != possible {
				t.Errorf("%q to %q: %q, %v; want %q", trigger, from, got, err, want)
			}
			if err := payment.advance(trigger, &Attempt{Amount: 1}); (err == nil) != possible {
				t.Errorf("%q to %q: %v", trigger, from, err)
			} else if !possible && (payment.Status != from || payment.AmountCapturable != 10 || payment.AmountCaptured != 0) {
				t.Errorf("%q, which cannot happen to %q, made it %+v", trigger, from, payment)
			}
		}
	}
}

// ordered is what the database checks as payment_amounts_ordered.
func ordered(p *Payment) error {
	left := p.Amount - p.AmountCaptured - p.AmountCapturable
	if p.AmountRefunded < 0 || p.AmountRefunded > p.AmountCaptured || p.AmountCapturable < 0 || left < 0 || left > p.Amount {
		return fmt.Errorf("captured %d, capturable %d and refunded %d of %d", p.AmountCaptured, p.AmountCapturable, p.AmountRefunded, p.Amount)
	}
	settled := p.Status != StatusAuthorised && p.Status != StatusCaptured
	switch {
	case settled && p.AmountCapturable != 0:
		return fmt.Errorf("%d can be captured of a payment that is %q", p.AmountCapturable, p.Status)
	case p.Status == StatusRefunded && (p.AmountRefunded == 0 || p.AmountRefunded != p.AmountCaptured):
		return fmt.Errorf("refunded, but only %d of %d", p.AmountRefunded, p.AmountCaptured)
	case p.Status == StatusCaptured && p.AmountCaptured == 0, settled && p.Status != StatusRefunded && p.AmountCaptured != 0:
		return fmt.Errorf("%d are captured of a payment that is %q", p.AmountCaptured, p.Status)
	case p.Status == StatusCaptured && p.AmountRefunded == p.AmountCaptured && p.AmountCapturable == 0:
		return errors.New("captured, though all of it was refunded and nothing is left to capture")
	}
	return nil
}

// move is a way for a payment to go on.
type move struct {
	trigger Trigger
	attempt Attempt
}

// moves are all ways on from a payment without an attempt under way, or with its first one.
func moves(p *Payment) []move {
	switch p.Status {
	case StatusNone:
		return []move{{trigger: Created}}
	case StatusProcessing, StatusUnknown:
		return []move{{trigger: AnswerLost}, {trigger: Authorised}, {trigger: CapturedAtOnce}, {trigger: Declined}}
	}
	var all []move
	if p.AmountCapturable > 0 {
		all = append(all, move{trigger: AuthorisationExpired})
	}
	for kind, trigger := range map[Kind]Trigger{KindCapture: CaptureSucceeded, KindRefund: RefundSucceeded, KindVoid: VoidSucceeded} {
		for amount := range p.Amount + 2 {
			for _, final := range []bool{false, true} {
				c := Change{Kind: kind, Amount: amount, Final: final}
				if p.refusal(&c) != nil {
					continue
				}
				attempt := Attempt{Kind: kind, Amount: c.Amount, Final: final || kind == KindCapture && c.Amount == p.AmountCapturable}
				all = append(all, move{trigger, attempt}, move{ChangeDeclined, attempt}, move{ChangeUnknown, attempt})
			}
		}
	}
	return all
}

// passage is a change of status that can really happen.
type passage struct {
	from    Status
	trigger Trigger
	to      Status
}

// explore goes every way that a payment of four can go, and returns the passages it went through.
func explore(t *testing.T) map[passage]bool {
	t.Helper()
	type place struct {
		status  Status
		amounts [4]int64
	}
	seen, passages := map[place]bool{}, map[passage]bool{}
	ahead := []Payment{{Amount: 4}}
	for len(ahead) > 0 {
		p := ahead[0]
		ahead = ahead[1:]
		if seen[place{p.Status, amountsOf(&p)}] {
			continue
		}
		seen[place{p.Status, amountsOf(&p)}] = true
		for _, m := range moves(&p) {
			next := p
			if err := next.advance(m.trigger, &m.attempt); err != nil {
				t.Errorf("a payment %+v could not go on by %q: %v", p, m.trigger, err)
				continue
			}
			if err := ordered(&next); err != nil {
				t.Errorf("after %q with %d: %v", m.trigger, m.attempt.Amount, err)
				continue // from here it might go on for ever
			}
			passages[passage{p.Status, m.trigger, next.Status}] = true
			ahead = append(ahead, next)
		}
	}
	return passages
}

// What can happen is what the table says, and all of it. Only that a payment is refunded depends on its amounts too.
func TestTheTableIsWhatCanHappen(t *testing.T) {
	t.Parallel()
	passages := explore(t)
	for _, row := range Transitions() {
		if !passages[passage{row.From, row.Trigger, row.To}] {
			t.Errorf("%q never takes a payment from %q to %q", row.Trigger, row.From, row.To)
		}
		delete(passages, passage{row.From, row.Trigger, row.To})
	}
	for p := range passages {
		if p.from != StatusCaptured || p.to != StatusRefunded {
			t.Errorf("%q takes a payment from %q to %q, which is not in the table", p.trigger, p.from, p.to)
		}
	}
	reached := map[Status]bool{}
	for p := range explore(t) {
		reached[p.to] = true
	}
	if got := slices.Sorted(maps.Keys(reached)); !slices.Equal(got, slices.Sorted(slices.Values(Statuses()))) {
		t.Errorf("the statuses that can be reached are %q", got)
	}
}

// Whatever is asked for, in whatever order and with whatever outcome, the amounts stay in their order, a refusal changes nothing,
// and a success moves exactly what was asked for.
func TestAmountsNeverLeaveTheirOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		amounts := rapid.OneOf(rapid.Int64Range(1, 20), rapid.Int64Range(math.MaxInt64-20, math.MaxInt64))
		p := Payment{Amount: amounts.Draw(t, "amount")}
		for _, trigger := range []Trigger{Created, rapid.SampledFrom([]Trigger{Authorised, CapturedAtOnce}).Draw(t, "first")} {
			if err := p.advance(trigger, &Attempt{Amount: p.Amount}); err != nil {
				t.Fatal(err)
			}
		}
		asked := rapid.OneOf(rapid.Int64Range(-2, 25), rapid.Int64Range(math.MaxInt64-25, math.MaxInt64), rapid.Just(int64(math.MinInt64)))
		for range rapid.IntRange(1, 12).Draw(t, "changes") {
			c := Change{
				Kind: rapid.SampledFrom([]Kind{KindCapture, KindRefund, KindVoid}).Draw(t, "kind"), Amount: asked.Draw(t, "asked"),
				Final: rapid.Bool().Draw(t, "final"),
			}
			oneChange(t, &p, c, rapid.SampledFrom([]string{"succeeds", "declined", "lost", "expired before"}).Draw(t, "outcome"))
			if err := ordered(&p); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func oneChange(t *rapid.T, p *Payment, c Change, outcome string) {
	if outcome == "expired before" && p.AmountCapturable > 0 {
		if err := p.advance(AuthorisationExpired, nil); err != nil {
			t.Fatal(err)
		}
	}
	before, wanted := *p, c.Amount
	if err := p.refusal(&c); err != nil {
		if p.Status != before.Status || amountsOf(p) != amountsOf(&before) {
			t.Fatalf("refused with %v, but changed", err)
		}
		return
	}
	if c.Amount <= 0 || c.Kind != KindVoid && wanted != 0 && c.Amount != wanted {
		t.Fatalf("%s of %d became one of %d", c.Kind, wanted, c.Amount)
	}
	trigger := map[Kind]Trigger{KindCapture: CaptureSucceeded, KindRefund: RefundSucceeded, KindVoid: VoidSucceeded}[c.Kind]
	switch outcome {
	case "declined":
		trigger = ChangeDeclined
	case "lost":
		trigger = ChangeUnknown
	}
	if err := p.advance(trigger, &Attempt{Kind: c.Kind, Amount: c.Amount, Final: c.Final}); err != nil {
		t.Fatalf("%s was begun, but %v", c.Kind, err)
	}
	captured, refunded := p.AmountCaptured-before.AmountCaptured, p.AmountRefunded-before.AmountRefunded
	switch trigger {
	case CaptureSucceeded:
		captured -= c.Amount
	case RefundSucceeded:
		refunded -= c.Amount
	case ChangeDeclined, ChangeUnknown:
		if amountsOf(p) != amountsOf(&before) || p.Status != before.Status {
			t.Fatalf("%q moved money: %+v", trigger, p)
		}
	}
	if captured != 0 || refunded != 0 {
		t.Fatalf("%s of %d: %d too much captured, %d too much refunded", c.Kind, c.Amount, captured, refunded)
	}
}

func amountsOf(p *Payment) [4]int64 {
	return [4]int64{p.Amount, p.AmountCapturable, p.AmountCaptured, p.AmountRefunded}
}

const statesPage = "../../../docs/reference/payment-states.md"

func TestTheStatesAreDocumented(t *testing.T) {
	t.Parallel()
	page := statesDocument(explore(t))
	written, err := os.ReadFile(statesPage)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if string(written) == page {
		return
	}
	if !*update {
		t.Fatal("docs/reference/payment-states.md is not what the table says: make generate")
	}
	if err := os.WriteFile(statesPage, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}

// statesDocument writes the page: a drawing, the table, and the matrix of every status with every trigger.
func statesDocument(passages map[passage]bool) string {
	var out strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	line("<!-- Made from payments.Transitions by make generate. -->\n\n# The states of a payment\n")
	line("What is not on this page cannot happen. A payment has at most one request to its provider under way; while the outcome of")
	line("one is not known, the payment waits for it and its money stays held.\n\n```mermaid\nstateDiagram-v2")
	arrows := map[[2]Status][]string{}
	var order [][2]Status
	for _, row := range Transitions() {
		for _, to := range []Status{row.To, StatusRefunded} {
			way := [2]Status{row.From, to}
			if !passages[passage{row.From, row.Trigger, to}] {
				continue
			}
			if arrows[way] == nil {
				order = append(order, way)
			}
			arrows[way] = append(arrows[way], string(row.Trigger))
		}
	}
	for _, way := range order {
		from := string(way[0])
		if from == "" {
			from = "[*]"
		}
		line("    %s --> %s: %s", from, way[1], strings.Join(arrows[way], ", "))
	}
	for _, s := range Statuses() {
		if !slices.ContainsFunc(Transitions(), func(row Transition) bool { return row.From == s }) {
			line("    %s --> [*]", s)
		}
	}
	line("```\n\nA payment is `refunded` once all that was captured has been refunded and nothing is left to capture.\n")
	line("| From | What happens | To | Caused by | What it does in the ledger |\n|---|---|---|---|---|")
	for _, row := range Transitions() {
		to := "`" + string(row.To) + "`"
		if row.To != StatusRefunded && passages[passage{row.From, row.Trigger, StatusRefunded}] {
			to += " or `refunded`"
		}
		from := "–"
		if row.From != StatusNone {
			from = "`" + string(row.From) + "`"
		}
		line("| %s | %s | %s | %s | %s |", from, row.Trigger, to, row.By, row.Books)
	}
	line("\n## Every status with everything that happens\n")
	writeMatrix(line)
	return out.String()
}

// writeMatrix has a row for each trigger and a column for each status; a dot is an error.
func writeMatrix(line func(string, ...any)) {
	head, rule := "| |", "|---|"
	columns := append([]Status{StatusNone}, Statuses()...)
	for _, from := range columns {
		name := string(from)
		if from == StatusNone {
			name = "(none)"
		}
		head += " " + name + " |"
		rule += "---|"
	}
	line("%s\n%s", head, rule)
	for _, trigger := range triggers() {
		row := "| " + string(trigger) + " |"
		for _, from := range columns {
			cell := "·"
			if to, err := Next(from, trigger); err == nil {
				cell = string(to)
			}
			row += " " + cell + " |"
		}
		line("%s", row)
	}
}
