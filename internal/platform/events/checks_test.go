package events

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/kit/proof"
)

func TestADamagedLogIsReported(t *testing.T) {
	t.Parallel()
	db, err := postgres.Open(t.Context(), postgrestest.DB(t).URL, postgres.Options{ConnectionsMax: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	source := ids.NewSource(clock.System)
	log, org := New(db, source), source.New()
	err = db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		var batch pgx.Batch
		event := Event{OrgID: org, AggregateType: "payment", AggregateID: source.New(), Type: "payment.created", Payload: []byte("{}")}
		log.Queue(&batch, []Event{event, event, event})
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return err
		}
		message := Message{OrgID: org, Source: "sandbox", ID: "msg_1", Type: "charge.succeeded", OccurredAt: clock.System()}
		other := message
		other.Hash[0] = 1
		_, err := log.Receive(ctx, tx, []Message{message, message, other})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, damage string
		want         []string
	}{
		{"nothing", `select 1`, nil},
		{
			"an event that is there twice",
			`insert into event (org_id, xid, id, aggregatetype, aggregateid, type, payload, recorded_at)
			select org_id, '3', id, aggregatetype, aggregateid, type, payload, recorded_at from event limit 1`,
			[]string{"events.log.once"},
		},
		{
			"an event from a future transaction",
			`update event set xid = '1000000000000' where id = (select id from event limit 1)`,
			[]string{"events.log.readable"},
		},
		{
			"a message with impossible counts",
			`update inbox_record set mismatches = repeats + 1`,
			[]string{"events.inbox.counts"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			err := db.DryRun(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
				if tag, err := tx.Exec(ctx, c.damage); err != nil || tag.RowsAffected() != 1 {
					return fmt.Errorf("it damages %d rows: %w", tag.RowsAffected(), err)
				}
				report, err := proof.RunIn(ctx, tx, clock.System, []proof.Part{Proof()}, nil)
				for _, f := range report.Failed() {
					got = append(got, f.Name)
					t.Logf("%s: %d, such as %s %s", f.Name, f.Violations, f.First[0].ID, f.First[0].Detail)
				}
				return err
			})
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v; %v", got, c.want, err)
			}
		})
	}
}
