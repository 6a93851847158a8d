-- +goose Up

-- What is to be done; never changed. Partitioned by the time in the id (UUIDv7).
create table task (
    org_id       uuid        not null,
    id           uuid        not null,
    queue        text        not null,
    kind         text        not null,
    args         json        not null,
    subject_type text        not null,
    subject_id   uuid        not null,
    created_at   timestamptz not null,
    constraint task_pkey primary key (org_id, id)
) partition by range (id);
-- Not org_id first: on statistics from when the table was small, it would be taken for as good as the key.
create index task_subject_idx on task (subject_id);

-- The tasks that are not finished: narrow and hot. due_at is when somebody has to look at the task next: its
-- scheduled time while it waits, the end of the lease while it runs. So one index finds both the work that is due and the work
-- whose worker died. lease_token is the fence: who does not hold it can neither finish nor prolong.
create table task_live (
    org_id      uuid        not null,
    task_id     uuid        not null,
    queue       text        not null,
    due_at      timestamptz not null,
    attempt     integer     not null default 0,     -- attempts begun: the number of the latest in the history
    excused     integer     not null default 0,     -- those of them that do not count against the policy: snoozed, interrupted
    interrupted boolean     not null default false, -- an attempt ended without a word: what it did is not known
    nudged      boolean     not null default false, -- something happened while an attempt ran: look again at once
    lease_token uuid,
    leased_by   text,
    leased_at   timestamptz,
    constraint task_live_pkey primary key (org_id, task_id),
    constraint task_live_attempts_ordered check (excused >= 0 and excused <= attempt),
    constraint task_live_lease_whole
        check ((lease_token is null) = (leased_by is null) and (lease_token is null) = (leased_at is null))
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create index task_live_due_idx on task_live (due_at);

-- Append-only history, one row an attempt.
create table task_attempt (
    org_id      uuid        not null,
    task_id     uuid        not null,
    number      integer     not null,
    node        text        not null,
    started_at  timestamptz not null,
    finished_at timestamptz not null,
    outcome     text        not null,
    error_code  text,
    detail      json,
    next_due_at timestamptz, -- null: the task is finished
    constraint task_attempt_pkey primary key (org_id, task_id, number),
    constraint task_attempt_outcome_known
        check (outcome in ('succeeded', 'failed', 'snoozed', 'timed_out', 'rate_limited', 'interrupted', 'lease_lost'))
) partition by range (task_id);

-- +goose Down
drop table task_attempt;
drop table task_live;
drop table task;
