package events

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/kit/prooftest"
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
			if got := prooftest.Failing(t, db, Proof(), c.damage); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
