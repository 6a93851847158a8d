package why

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// records is everything that is recorded about one payment.
type records struct {
	payment  paymentRow
	attempts []attemptRow
	tries    []tryRow
	lives    []liveRow
	keys     []keyRow
	messages []messageRow
	lines    []lineRow
	events   []eventRow
}

type paymentRow struct {
	OrgID                        ids.ID
	Organisation                 string
	ID                           ids.ID
	Status, Provider, Currency   string
	Amount, Capturable, Captured int64
	Refunded, Fee                int64
	CaptureMethod, Token         string
	Failure                      *string
	ExpiresAt                    *time.Time
	HoldEntryID                  ids.ID
	Now                          time.Time
}

// The id says nothing of the organisation: each is asked, by one index probe.
const findPaymentSQL = `
	select p.org_id, o.name, p.id, p.status, p.provider, p.currency, p.amount, p.amount_capturable, p.amount_captured, p.amount_refunded,
		p.amount_fee, p.capture_method, p.token, p.failure_code, p.authorisation_expires_at, p.hold_entry_id, now()
	from organisation o
	join payment p on p.org_id = o.id and p.id = $1`

type attemptRow struct {
	ID, TaskID, EntryID     ids.ID
	Kind, State             string
	Amount                  int64
	Final                   bool
	Fee                     int64
	Failure, Key, RequestID *string
	CreatedAt               time.Time
}

const attemptsSQL = `
	select a.id, a.task_id, a.entry_id, a.kind, a.state, a.amount, a.final, a.fee, a.failure_code, a.idempotency_key, a.request_id, a.created_at
	from payment_attempt a
	where a.org_id = $1 and a.payment_id = $2
	order by a.id`

// tryRow is one try to carry an attempt out, as the task's history has it.
type tryRow struct {
	TaskID                ids.ID
	Number                int
	Node                  string
	StartedAt, FinishedAt time.Time
	Outcome               string
	Code                  *string
	Detail                []byte
	NextDueAt             *time.Time
}

const triesSQL = `
	select t.task_id, t.number, t.node, t.started_at, t.finished_at, t.outcome, t.error_code, t.detail, t.next_due_at
	from unnest($2::uuid[]) as k (task_id)
	join task_attempt t on t.org_id = $1 and t.task_id = k.task_id
	order by t.started_at, t.number`

type liveRow struct {
	TaskID   ids.ID
	DueAt    time.Time
	Attempt  int
	LeasedBy *string
	LeasedAt *time.Time
}

const livesSQL = `
	select l.task_id, l.due_at, l.attempt, l.leased_by, l.leased_at
	from unnest($2::uuid[]) as k (task_id)
	join task_live l on l.org_id = $1 and l.task_id = k.task_id`

type keyRow struct {
	Key       string
	SubjectID *ids.ID
}

const keysSQL = `
	select r.key, r.subject_id
	from unnest($2::text[]) as k (key)
	join idempotency_record r on r.org_id = $1 and r.key = k.key collate "C"`

type messageRow struct {
	Source, ID, Type       string
	OccurredAt, ReceivedAt time.Time
	Repeats, Mismatches    int
}

const messagesSQL = `
	select m.source, m.message_id, m.type, m.occurred_at, m.received_at, m.repeats, m.mismatches
	from inbox_record m
	where m.org_id = $1 and m.subject_id = $2
	order by m.received_at`

// lineRow is one posting of an entry about the payment.
type lineRow struct {
	EntryID       ids.ID
	Code          string
	Reversal      bool
	Phase         string
	Amount        int64
	Debit, Credit string
	RecordedAt    time.Time
}

const linesSQL = `
	select e.id, e.code, e.reversal_of is not null, l.phase, l.amount, d.code, c.code, l.recorded_at
	from ledger_entry e
	join ledger_posting l on l.org_id = e.org_id and l.entry_id = e.id
	join ledger_account d on d.org_id = l.org_id and d.id = l.debit_account_id
	join ledger_account c on c.org_id = l.org_id and c.id = l.credit_account_id
	where e.org_id = $1 and e.subject_id = $2
	order by l.recorded_at, e.id, l.number`

type eventRow struct {
	ID, AggregateID ids.ID
	Type            string
	RecordedAt      time.Time
}

const eventsSQL = `
	select e.id, e.aggregateid, e.type, e.recorded_at
	from unnest($2::uuid[]) as k (id)
	join event e on e.aggregateid = k.id and e.org_id = $1
	order by e.xid, e.id`

// read gathers the records; false when there is no such payment.
func read(ctx context.Context, tx postgres.Tx, payment ids.ID) (records, bool, error) {
	rows, err := tx.Query(ctx, findPaymentSQL, payment)
	if err != nil {
		return records{}, false, fmt.Errorf("find the payment: %w", err)
	}
	p, err := pgx.CollectOneRow(rows, pgx.RowToStructByPos[paymentRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return records{}, false, nil
	}
	if err != nil {
		return records{}, false, fmt.Errorf("find the payment: %w", err)
	}
	r := records{payment: p}
	batch := &pgx.Batch{}
	batch.Queue(attemptsSQL, p.OrgID, p.ID).Query(into(&r.attempts))
	batch.Queue(messagesSQL, p.OrgID, p.ID).Query(into(&r.messages))
	batch.Queue(linesSQL, p.OrgID, p.ID).Query(into(&r.lines))
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return records{}, false, fmt.Errorf("read the payment's records: %w", err)
	}
	tasks, keys, subjects := r.named()
	batch = &pgx.Batch{}
	batch.Queue(triesSQL, p.OrgID, tasks).Query(into(&r.tries))
	batch.Queue(livesSQL, p.OrgID, tasks).Query(into(&r.lives))
	batch.Queue(keysSQL, p.OrgID, keys).Query(into(&r.keys))
	batch.Queue(eventsSQL, p.OrgID, subjects).Query(into(&r.events))
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return records{}, false, fmt.Errorf("read the payment's records: %w", err)
	}
	return r, true, nil
}

// into collects a statement's rows.
func into[T any](list *[]T) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var err error
		*list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[T])
		return err
	}
}

// named is what the records refer to: tasks, keys, and what there may be events about.
func (r *records) named() (tasks []ids.ID, keys []string, subjects []ids.ID) {
	subjects = append(subjects, r.payment.ID)
	seen := map[ids.ID]bool{}
	for _, l := range r.lines {
		if !seen[l.EntryID] {
			seen[l.EntryID] = true
			subjects = append(subjects, l.EntryID)
		}
	}
	for _, a := range r.attempts {
		tasks = append(tasks, a.TaskID)
		if a.Key != nil {
			keys = append(keys, *a.Key)
		}
	}
	return tasks, keys, subjects
}
