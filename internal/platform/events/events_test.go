package events_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/platform/events"
)

type bench struct {
	*testing.T
	db     *postgres.DB
	source *ids.Source
	events *events.Events
	org    ids.ID
}

func setup(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	db, err := postgres.Open(t.Context(), postgrestest.DB(t).URL, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	source := ids.NewSource(clock.System)
	return &bench{T: t, db: db, source: source, events: events.New(db, source), org: source.New()}
}

// begin opens a transaction that the test holds open.
func (b *bench) begin() pgx.Tx {
	b.Helper()
	tx, err := b.db.Pool().Begin(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(b.Context())) })
	return tx
}

func (b *bench) append(tx postgres.Tx, list ...events.Event) {
	b.Helper()
	var batch pgx.Batch
	b.events.Queue(&batch, list)
	if err := tx.SendBatch(b.Context(), &batch).Close(); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) commit(tx pgx.Tx) {
	b.Helper()
	if err := tx.Commit(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) event(eventType string) events.Event {
	return events.Event{OrgID: b.org, AggregateType: "payment", AggregateID: b.source.New(), Type: eventType, Payload: []byte(`{"amount":1000}`)}
}

func (b *bench) list(after paging.Cursor, f events.Filter, limit int) ([]events.Stored, paging.Cursor) {
	b.Helper()
	list, next, err := b.events.List(b.Context(), b.org, after, f, limit)
	if err != nil {
		b.Fatal(err)
	}
	return list, next
}

// read reads on until it has n events. Transactions of other tests in the cluster may hold the readers back for a while.
func (b *bench) read(after paging.Cursor, n int) ([]events.Stored, paging.Cursor) {
	b.Helper()
	var all []events.Stored
	for len(all) < n {
		if b.Context().Err() != nil {
			b.Fatalf("%d of %d events came", len(all), n)
		}
		page, next := b.list(after, events.Filter{}, paging.LimitMax)
		all, after = append(all, page...), next
	}
	return all, after
}

func types(list []events.Stored) []string {
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = e.Type
	}
	return out
}

func TestATransactionThatCommitsLateIsNeverSkipped(t *testing.T) {
	b := setup(t)
	late := b.begin()
	b.append(late, b.event("late.a"), b.event("late.b"))
	early := b.begin()
	b.append(early, b.event("early"))
	b.commit(early)

	before, cursor := b.list(paging.Cursor{}, events.Filter{}, 10)
	if len(before) != 0 || !cursor.IsZero() {
		t.Fatalf("a reader went past an open transaction: %v", types(before))
	}
	b.commit(late)
	after, cursor := b.read(cursor, 3)
	if got := types(after); !slices.Equal(got, []string{"late.a", "late.b", "early"}) {
		t.Fatalf("want the order in which the transactions began to write, got %v", got)
	}
	if again, same := b.list(cursor, events.Filter{}, 10); len(again) != 0 || same != cursor {
		t.Fatalf("the end moved: %v", types(again))
	}
}

func TestAReaderBesideManyWritersMissesNothingAndSeesNothingTwice(t *testing.T) {
	b := setup(t)
	const writers, transactions = 8, 25
	failed := make(chan error, writers)
	for w := range writers {
		go func() {
			var err error
			for n := range transactions {
				err = b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
					var batch pgx.Batch
					b.events.Queue(&batch, []events.Event{b.event(fmt.Sprintf("%d.%d.first", w, n)), b.event(fmt.Sprintf("%d.%d.second", w, n))})
					return tx.SendBatch(ctx, &batch).Close()
				})
				if err != nil {
					break
				}
			}
			failed <- err
		}()
	}
	seen, _ := b.read(paging.Cursor{}, 2*writers*transactions)
	for range writers {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	got := types(seen)
	slices.Sort(got)
	if len(slices.Compact(got)) != 2*writers*transactions {
		t.Fatalf("%d different events of %d", len(got), 2*writers*transactions)
	}
	place := func(e events.Stored) paging.Cursor { return paging.Cursor{Number: e.Number, ID: e.ID} }
	for i := range seen[1:] {
		last, next := place(seen[i]), place(seen[i+1])
		if last.Number > next.Number || last.Number == next.Number && ids.Compare(last.ID, next.ID) >= 0 {
			t.Fatalf("out of order: %+v, %+v", last, next)
		}
	}
}

func TestWhatIsQueuedComesBack(t *testing.T) {
	b := setup(t)
	want := b.event("payment.captured")
	want.ID, want.RecordedAt = b.source.New(), clock.System().Add(-time.Minute)
	tx := b.begin()
	b.append(tx)
	b.append(tx, want)
	b.commit(tx)
	list, _ := b.read(paging.Cursor{}, 1)
	got := list[0]
	if got.OrgID != want.OrgID || got.ID != want.ID || got.AggregateType != want.AggregateType || got.AggregateID != want.AggregateID ||
		got.Type != want.Type || string(got.Payload) != string(want.Payload) || !got.RecordedAt.Equal(want.RecordedAt) {
		t.Fatalf("%+v came back as %+v", want, got)
	}
}

func TestFiltersChooseAndTheCursorPassesWhatTheyLeaveOut(t *testing.T) {
	b := setup(t)
	aggregate := b.source.New()
	tx := b.begin()
	for n := range 30 {
		e := b.event([]string{"payment.created", "payment.captured", "account.created"}[n%3])
		if n%3 == 2 {
			e.AggregateType, e.AggregateID = "account", aggregate
		}
		b.append(tx, e)
	}
	other := b.event("payment.created")
	other.OrgID = b.source.New()
	b.append(tx, other)
	b.commit(tx)

	_, end := b.read(paging.Cursor{}, 30)
	captured := events.Filter{Types: []string{"payment.captured", "payment.voided"}}
	first, cursor := b.list(paging.Cursor{}, captured, 4)
	rest, last := b.list(cursor, captured, 100)
	if len(first) != 4 || len(rest) != 6 || last != end {
		t.Fatalf("pages of %d and %d", len(first), len(rest))
	}
	for _, e := range slices.Concat(first, rest) {
		if e.Type != "payment.captured" || string(e.Payload) != `{"amount":1000}` {
			t.Fatalf("%+v", e)
		}
	}
	none, passed := b.list(paging.Cursor{}, events.Filter{Types: []string{"nothing"}}, 10)
	if len(none) != 0 || passed != end {
		t.Fatalf("%d events, at %+v", len(none), passed)
	}
	ofType, _ := b.list(paging.Cursor{}, events.Filter{AggregateType: "account"}, 100)
	ofOne, _ := b.list(paging.Cursor{}, events.Filter{AggregateID: aggregate}, 100)
	ofOneAndType, _ := b.list(paging.Cursor{}, events.Filter{AggregateID: aggregate, Types: []string{"payment.created"}}, 100)
	if len(ofType) != 10 || len(ofOne) != 10 || len(ofOneAndType) != 0 {
		t.Fatalf("%d, %d, %d", len(ofType), len(ofOne), len(ofOneAndType))
	}
}
