-- +goose Up

-- One row a key and organisation, written in the transaction of the command it answers for. Partitioned by the month
-- of its writing and retired by dropping months; see docs/concepts/idempotency.md for the turn of a month.
create table idempotency_record (
    org_id      uuid        not null,
    key         text        not null collate "C",
    period      date        not null, -- first day of the month
    fingerprint bytea       not null, -- SHA-256 of method, path and canonical body
    status      smallint    not null, -- HTTP status of the answer
    answer      bytea       not null,
    subject_id  uuid,                 -- what the command made or changed
    created_at  timestamptz not null default now(),
    constraint idempotency_record_pkey primary key (org_id, key, period),
    constraint idempotency_record_key_length check (octet_length(key) between 1 and 255)
) partition by range (period);

-- +goose Down
drop table idempotency_record;
