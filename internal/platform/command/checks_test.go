package command

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/kit/prooftest"
)

func TestDamagedRecordsAreReported(t *testing.T) {
	t.Parallel()
	db, err := postgres.Open(t.Context(), postgrestest.DB(t).URL, postgres.Options{ConnectionsMax: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	source := ids.NewSource(clock.System)
	runner, org := NewRunner(db, func(error, string) Answer { return Answer{Status: 404} }), source.New()
	for _, outcome := range []Outcome{
		{Answer: Answer{Status: 201, SubjectID: source.New(), Body: []byte("{}")}},
		{Answer: Answer{Status: 202, SubjectID: source.New()}},
		{Err: fault.New(fault.NotFound, "nothing", "There is nothing.")},
	} {
		meta := Meta{OrgID: org, Key: ids.Format("key", source.New())}
		_, err := runner.Once(t.Context(), meta, func(context.Context, postgres.Tx) Outcome { return outcome })
		if (err != nil) != (outcome.Err != nil) {
			t.Fatal(err)
		}
	}
	const otherMonthSQL = `
		insert into idempotency_record (org_id, key, period, fingerprint, status, answer, subject_id, created_at)
		select org_id, key, (period - interval '1 month')::date, fingerprint, status, answer, %s, created_at - interval '%s'
		from idempotency_record order by key limit 1`
	for _, c := range []struct {
		name, damage string
		want         []string
	}{
		{"nothing", `select 1`, nil},
		{"a record in both months of the turn", fmt.Sprintf(otherMonthSQL, "subject_id", "0"), nil},
		{"a key with two answers", fmt.Sprintf(otherMonthSQL, "gen_random_uuid()", "0"), []string{"command.keys.once"}},
		{
			"a record in the wrong month",
			`update idempotency_record set created_at = created_at - interval '2 months' where key = (select min(key) from idempotency_record)`,
			[]string{"command.records.whole"},
		},
		{
			"a refusal that made something",
			`update idempotency_record set subject_id = gen_random_uuid() where status = 404`,
			[]string{"command.records.whole"},
		},
		{
			"a record without a fingerprint",
			`update idempotency_record set fingerprint = '' where key = (select min(key) from idempotency_record)`,
			[]string{"command.records.whole"},
		},
		{
			"a record without an answer",
			`update idempotency_record set status = 0 where key = (select min(key) from idempotency_record)`,
			[]string{"command.records.whole"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := prooftest.Failing(t, db, Proof(), c.damage); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
