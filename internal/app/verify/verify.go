// Package verify is what kontor verify proves: what each module has to prove of its own, and what only the top floor can
// know, because it joins modules that do not know each other. It owns no tables and writes nothing.
package verify

import (
	"context"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/progress"
	"github.com/kontorhq/kontor/internal/kit/proof"
	"github.com/kontorhq/kontor/internal/platform/command"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/limits"
	"github.com/kontorhq/kontor/internal/platform/schedules"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// Run proves everything, however busy the database is. Violations are no error. p may be nil.
func Run(ctx context.Context, db *postgres.DB, p *progress.Progress) (proof.Report, error) {
	return proof.Run(ctx, db, clock.System, Parts(), p)
}

// Parts is everything there is to prove, money first.
func Parts() []proof.Part {
	return []proof.Part{
		ledger.Proof(), payments.Proof(), command.Proof(), tasks.Proof(), events.Proof(), limits.Proof(), destinations.Proof(),
		schedules.Proof(), across(),
	}
}

func across() proof.Part {
	return proof.Part{Checks: []proof.Check{
		{
			Name: "command.records.resources", SQL: lostResourcesSQL,
			Sentence: "Every idempotency record of a success has what it made: an attempt, an entry, an account, a task, a replay or a schedule.",
		},
		{
			Name: "events.aggregates.known", SQL: unknownAggregatesSQL,
			Sentence: "Every event is about an entry, an account, a payment, a queue, a destination or a schedule.",
		},
	}}
}

// Tasks go by the month, and what was made before the oldest one may have gone with its month; of a schedule that was deleted,
// its events stay.
const lostResourcesSQL = `
	select r.org_id, r.key, format('it was answered %s at %s with %s, which is nothing that a request makes', r.status, r.created_at, r.subject_id), count(*) over ()
	from idempotency_record r
	where r.status between 200 and 299 and r.subject_id is not null
		and not exists (select from payment_attempt a where a.org_id = r.org_id and a.id = r.subject_id)
		and not exists (select from ledger_entry e where e.org_id = r.org_id and e.id = r.subject_id)
		and not exists (select from ledger_account a where a.org_id = r.org_id and a.id = r.subject_id)
		and not exists (select from task t where t.org_id = r.org_id and t.id = r.subject_id)
		and not exists (select from task_replay p where p.org_id = r.org_id and p.id = r.subject_id)
		and not exists (select from schedule s where s.org_id = r.org_id and s.id = r.subject_id)
		and not exists (select from event e where e.org_id = r.org_id and e.aggregatetype = 'schedule' and e.aggregateid = r.subject_id)
		and r.subject_id >= coalesce((select t.id from task t order by t.id limit 1), r.subject_id)
	order by 4, 1, 2 limit 10`

const unknownAggregatesSQL = `
	select e.org_id, 'evt:' || e.id, format('%s is about a %s', e.type, e.aggregatetype), count(*) over ()
	from event e
	where e.aggregatetype not in ('ledger_entry', 'ledger_account', 'payment', 'queue', 'destination', 'schedule')
	order by 4, 1, 2 limit 10`
