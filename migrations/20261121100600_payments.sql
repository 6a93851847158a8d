-- +goose Up
create table payment (
    org_id                   uuid        not null,
    id                       uuid        not null,
    status                   text        not null,
    provider                 text        not null,
    currency                 text        not null,
    amount                   bigint      not null,
    amount_capturable        bigint      not null default 0,
    amount_captured          bigint      not null default 0,
    amount_refunded          bigint      not null default 0,
    amount_fee               bigint      not null default 0,
    capture_method           text        not null,
    token                    text        not null,
    reference                text,
    description              text,
    metadata                 jsonb,
    charge_id                text,
    hold_entry_id            uuid        not null,
    failure_code             text,
    authorisation_expires_at timestamptz,
    created_at               timestamptz not null,
    updated_at               timestamptz not null,
    constraint payment_status_known check (status in
        ('processing', 'unknown', 'authorised', 'captured', 'refunded', 'declined', 'voided', 'expired')),
    constraint payment_capture_method_known check (capture_method in ('automatic', 'manual')),
    constraint payment_currency_form check (currency ~ '^[A-Z]{3}$'),
    constraint payment_amount_positive check (amount > 0),
    constraint payment_amounts_ordered check (amount_refunded >= 0 and amount_refunded <= amount_captured
        and amount_capturable >= 0 and amount_captured + amount_capturable <= amount and amount_fee >= 0)
) with (fillfactor = 70);
create unique index payment_charge_key on payment (org_id, provider, charge_id) where charge_id is not null;
create index payment_status_idx on payment (org_id, status, id);
create index payment_reference_idx on payment (org_id, reference, id) where reference is not null;
create index payment_expiry_idx on payment (authorisation_expires_at) where amount_capturable > 0;
-- The primary key comes last: while the table is small all indexes that begin with org_id look equally good, and of those the
-- planner takes the newest. A plan made then is kept for as long as its connection lives.
alter table payment add constraint payment_pkey primary key (org_id, id);

-- One request to the provider, however often it had to be sent: the id is the reference and the idempotency key there.
create table payment_attempt (
    org_id          uuid        not null,
    id              uuid        not null,
    payment_id      uuid        not null,
    task_id         uuid        not null,
    kind            text        not null,
    state           text        not null,
    amount          bigint      not null,
    final           boolean     not null default false, -- capture: release the rest
    entry_id        uuid        not null,               -- the ledger entry that holds the money
    fee             bigint      not null default 0,
    operation_id    text,
    failure_code    text,
    settles_at      timestamptz, -- from when on a look-up that finds nothing proves that nothing happened
    idempotency_key text,
    request_id      text,
    answer_status   smallint,    -- what the caller is told, kept from the moment it is known
    answer          json,
    created_at      timestamptz not null,
    finished_at     timestamptz,
    constraint payment_attempt_pkey primary key (org_id, id),
    constraint payment_attempt_payment_id_fkey foreign key (org_id, payment_id) references payment (org_id, id),
    constraint payment_attempt_kind_known check (kind in ('authorise', 'capture', 'refund', 'void')),
    constraint payment_attempt_state_known check (state in ('processing', 'unknown', 'succeeded', 'declined')),
    constraint payment_attempt_amount_positive check (amount > 0),
    constraint payment_attempt_finished_has_answer
        check ((state in ('succeeded', 'declined')) = (finished_at is not null and answer is not null and answer_status is not null))
) with (fillfactor = 70);
-- The obligation's lock: whatever asks, only one request for a payment can be under way.
create unique index payment_attempt_live_key on payment_attempt (org_id, payment_id) where state in ('processing', 'unknown');
-- Not org_id first, or it would be taken for as good as the primary key while the table is small.
create index payment_attempt_payment_idx on payment_attempt (payment_id, id);

-- +goose Down
drop table payment_attempt;
drop table payment;
