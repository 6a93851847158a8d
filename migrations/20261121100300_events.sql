-- +goose Up

-- Append-only. The columns id, aggregatetype, aggregateid, type and payload are those Debezium's outbox event router
-- expects. Read in the order (xid, id) and only below pg_snapshot_xmin: a row of a transaction that commits late can
-- then never appear behind a reader. Partitioned by the time in the id (UUIDv7).
create table event (
    org_id        uuid        not null,
    xid           xid8        not null default pg_current_xact_id(),
    id            uuid        not null,
    aggregatetype text        not null,
    aggregateid   uuid        not null,
    type          text        not null,
    payload       json        not null,
    recorded_at   timestamptz not null,
    constraint event_pkey primary key (org_id, xid, id)
) partition by range (id);
-- Events have UUIDv7 aggregates, so this index grows at its end; an aggregate has few events, and they are sorted when read.
create index event_aggregate_idx on event (aggregateid);

-- Messages and webhooks that came in, once each.
create table inbox_record (
    org_id       uuid        not null,
    source       text        not null,
    message_id   text        not null,
    type         text        not null,
    subject_id   uuid,
    payload_hash bytea       not null,
    occurred_at  timestamptz not null,
    received_at  timestamptz not null default now(),
    repeats      integer     not null default 0,
    mismatches   integer     not null default 0, -- those of them that brought another payload under the same id
    constraint inbox_record_pkey primary key (org_id, source, message_id)
);
create index inbox_record_subject_idx on inbox_record (org_id, subject_id) where subject_id is not null;

-- +goose Down
drop table inbox_record;
drop table event;
