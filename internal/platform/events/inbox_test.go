package events_test

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"testing"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/events"
)

func (b *bench) message(id, payload string) events.Message {
	return events.Message{
		OrgID: b.org, Source: "sandbox", ID: id, Type: "charge.captured",
		Hash: sha256.Sum256([]byte(payload)), OccurredAt: clock.System(),
	}
}

func (b *bench) receive(list ...events.Message) []bool {
	var first []bool
	err := b.db.InTx(b.Context(), func(ctx context.Context, tx postgres.Tx) error {
		var err error
		first, err = b.events.Receive(ctx, tx, list)
		return err
	})
	if err != nil {
		b.Error(err)
	}
	return first
}

func (b *bench) counts(id string) (repeats, mismatches int) {
	b.Helper()
	err := b.db.Pool().QueryRow(b.Context(), `select repeats, mismatches from inbox_record where org_id = $1 and source = 'sandbox' and message_id = $2`,
		b.org, id).Scan(&repeats, &mismatches)
	if err != nil {
		b.Fatal(err)
	}
	return repeats, mismatches
}

func TestAMessageIsFirstOnce(t *testing.T) {
	b := setup(t)
	if got := b.receive(b.message("m2", "x"), b.message("m1", "x"), b.message("m2", "x")); !slices.Equal(got, []bool{true, true, false}) {
		t.Fatal(got)
	}
	if got := b.receive(b.message("m3", "x"), b.message("m2", "x"), b.message("m2", "other")); !slices.Equal(got, []bool{true, false, false}) {
		t.Fatal(got)
	}
	if got := b.receive(); len(got) != 0 {
		t.Fatal(got)
	}
	elsewhere := b.message("m1", "x")
	elsewhere.OrgID = b.source.New()
	fromAnother := b.message("m1", "x")
	fromAnother.Source = "bank"
	if got := b.receive(elsewhere, fromAnother); !slices.Equal(got, []bool{true, true}) {
		t.Fatal(got)
	}
	if repeats, mismatches := b.counts("m2"); repeats != 3 || mismatches != 1 {
		t.Fatalf("%d repeats, %d with another payload", repeats, mismatches)
	}
	if repeats, _ := b.counts("m1"); repeats != 0 {
		t.Fatalf("%d repeats", repeats)
	}
}

func TestConcurrentRepeatsAreFirstOnce(t *testing.T) {
	b := setup(t)
	var mu sync.Mutex
	firsts := map[string]int{}
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			list := []events.Message{b.message("a", "x"), b.message("b", "x"), b.message("c", "x")}
			if worker%2 == 1 {
				slices.Reverse(list)
			}
			for i, first := range b.receive(list...) {
				if first {
					mu.Lock()
					firsts[list[i].ID]++
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	for _, id := range []string{"a", "b", "c"} {
		repeats, _ := b.counts(id)
		if firsts[id] != 1 || repeats != 7 {
			t.Fatalf("%s was first %d times, with %d repeats", id, firsts[id], repeats)
		}
	}
}

func TestARolledBackMessageIsFirstAgain(t *testing.T) {
	b := setup(t)
	tx := b.begin()
	if first, err := b.events.Receive(t.Context(), tx, []events.Message{b.message("m", "x")}); err != nil || !first[0] {
		t.Fatal(first, err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if first := b.receive(b.message("m", "x")); !first[0] {
		t.Fatal("its effect was lost")
	}
}
