package payments

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// hot
const lockPaymentsSQL = `
	select p.org_id, p.id, p.status, p.provider, p.currency, p.amount, p.amount_capturable, p.amount_captured, p.amount_refunded,
		p.amount_fee, p.capture_method, p.token, p.reference, p.description, p.metadata, p.charge_id, p.hold_entry_id, p.failure_code,
		p.authorisation_expires_at, p.created_at, p.updated_at
	from unnest($1::uuid[], $2::uuid[]) as k (org_id, id)
	join payment p on p.org_id = k.org_id and p.id = k.id
	order by p.id
	for no key update of p`

// hot
const readAttemptsSQL = `
	select a.org_id, a.id, a.payment_id, a.task_id, a.kind, a.state, a.amount, a.final, a.entry_id, a.fee, a.operation_id, a.failure_code,
		coalesce(a.settles_at <= now(), false), a.idempotency_key, a.request_id,
		extract(epoch from now() - a.created_at)::double precision
	from unnest($1::uuid[], $2::uuid[]) as k (org_id, id)
	join payment_attempt a on a.org_id = k.org_id and a.id = k.id`

// hot
const insertPaymentsSQL = `
	insert into payment (org_id, id, status, provider, currency, amount, capture_method, token, reference, description, metadata,
		hold_entry_id, created_at, updated_at)
	select unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::text[]), unnest($4::text[]), unnest($5::text[]), unnest($6::bigint[]),
		unnest($7::text[]), unnest($8::text[]), unnest($9::text[]), unnest($10::text[]), unnest($11::jsonb[]), unnest($12::uuid[]),
		unnest($13::timestamptz[]), unnest($13::timestamptz[])`

// hot
const insertAttemptsSQL = `
	insert into payment_attempt (org_id, id, payment_id, task_id, kind, state, amount, final, entry_id, idempotency_key, request_id, created_at)
	select unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::uuid[]), unnest($4::uuid[]), unnest($5::text[]), 'processing',
		unnest($6::bigint[]), unnest($7::boolean[]), unnest($8::uuid[]), unnest($9::text[]), unnest($10::text[]), now()`

// hot
const updatePaymentsSQL = `
	update payment p
	set status = u.status, amount_capturable = u.capturable, amount_captured = u.captured, amount_refunded = u.refunded,
		amount_fee = u.fee, charge_id = u.charge_id, failure_code = u.failure_code, authorisation_expires_at = u.expires_at,
		updated_at = $11
	from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::timestamptz[])
		as u (org_id, id, status, capturable, captured, refunded, fee, charge_id, failure_code, expires_at)
	where p.org_id = u.org_id and p.id = u.id`

// hot
const updateAttemptsSQL = `
	update payment_attempt a
	set state = u.state, fee = u.fee, operation_id = u.operation_id, failure_code = u.failure_code,
		settles_at = case when u.settles_ms > 0 then now() + u.settles_ms * interval '1 millisecond' else a.settles_at end,
		answer_status = u.answer_status, answer = u.answer,
		finished_at = case when u.state in ('succeeded', 'declined') then $10::timestamptz end
	from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::smallint[], $9::json[])
		as u (org_id, id, state, fee, operation_id, failure_code, settles_ms, answer_status, answer)
	where a.org_id = u.org_id and a.id = u.id`

func scanPayment(row pgx.CollectableRow) (Payment, error) {
	var p Payment
	var reference, description, charge, failure *string
	var expires *time.Time
	err := row.Scan(&p.OrgID, &p.ID, &p.Status, &p.Provider, &p.Currency, &p.Amount, &p.AmountCapturable, &p.AmountCaptured,
		&p.AmountRefunded, &p.AmountFee, &p.CaptureMethod, &p.Token, &reference, &description, &p.Metadata, &charge, &p.HoldEntryID,
		&failure, &expires, &p.CreatedAt, &p.UpdatedAt)
	p.Reference, p.Description, p.ChargeID, p.FailureCode = given(reference), given(description), given(charge), given(failure)
	p.AuthorisationExpiresAt = given(expires)
	p.CreatedAt, p.UpdatedAt = p.CreatedAt.UTC(), p.UpdatedAt.UTC()
	if !p.AuthorisationExpiresAt.IsZero() {
		p.AuthorisationExpiresAt = p.AuthorisationExpiresAt.UTC()
	}
	return p, err
}

func scanAttempt(row pgx.CollectableRow) (Attempt, error) {
	var a Attempt
	var operation, failure, key, request *string
	var age float64
	err := row.Scan(&a.OrgID, &a.ID, &a.PaymentID, &a.TaskID, &a.Kind, &a.State, &a.Amount, &a.Final, &a.EntryID, &a.Fee, &operation,
		&failure, &a.Settled, &key, &request, &age)
	a.OperationID, a.FailureCode, a.IdempotencyKey, a.RequestID = given(operation), given(failure), given(key), given(request)
	a.Age = time.Duration(age * float64(time.Second))
	a.began = stopwatch().Add(-a.Age)
	return a, err
}

// given is the zero value for NULL.
func given[T any](v *T) T {
	if v == nil {
		var zero T
		return zero
	}
	return *v
}

// optional is nil, and so NULL, for a zero value.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func (p *Payments) queuePayments(batch *pgx.Batch, works []work) {
	n := len(works)
	if n == 0 {
		return
	}
	orgs, payments, holds := make([]ids.ID, n), make([]ids.ID, n), make([]ids.ID, n)
	statuses, providers, currencies := make([]string, n), make([]string, n), make([]string, n)
	methods, tokens, references, descriptions := make([]string, n), make([]string, n), make([]*string, n), make([]*string, n)
	amounts, metadata, created := make([]int64, n), make([][]byte, n), make([]time.Time, n)
	for i := range works {
		pay := &works[i].payment
		orgs[i], payments[i], holds[i], statuses[i] = pay.OrgID, pay.ID, pay.HoldEntryID, string(pay.Status)
		providers[i], currencies[i], amounts[i], methods[i] = pay.Provider, pay.Currency, pay.Amount, pay.CaptureMethod
		tokens[i], references[i], descriptions[i] = pay.Token, optional(pay.Reference), optional(pay.Description)
		metadata[i], created[i] = pay.Metadata, pay.CreatedAt
	}
	batch.Queue(insertPaymentsSQL, orgs, payments, statuses, providers, currencies, amounts, methods, tokens, references, descriptions,
		metadata, holds, created)
}

func (p *Payments) queueAttempts(batch *pgx.Batch, works []work) {
	n := len(works)
	orgs, attempts, payments, taskIDs, entries := make([]ids.ID, n), make([]ids.ID, n), make([]ids.ID, n), make([]ids.ID, n), make([]ids.ID, n)
	kinds, amounts, finals := make([]string, n), make([]int64, n), make([]bool, n)
	keys, requests := make([]*string, n), make([]*string, n)
	for i := range works {
		a := &works[i].attempt
		orgs[i], attempts[i], payments[i], taskIDs[i], entries[i] = a.OrgID, a.ID, a.PaymentID, a.TaskID, a.EntryID
		kinds[i], amounts[i], finals[i] = string(a.Kind), a.Amount, a.Final
		keys[i], requests[i] = optional(a.IdempotencyKey), optional(a.RequestID)
	}
	batch.Queue(insertAttemptsSQL, orgs, attempts, payments, taskIDs, kinds, amounts, finals, entries, keys, requests)
}
