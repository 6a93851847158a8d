-- +goose Up

-- How the tasks of a queue are dispatched. A queue without a row has no limits: that is how the queues of Kontor's own
-- work are.
create table task_queue (
    org_id                    uuid        not null,
    name                      text        not null collate "C",
    state                     text        not null default 'running',
    paused_until              timestamptz,
    pause_reason              text,
    max_dispatches_per_second integer     not null,
    max_burst_size            integer     not null,
    max_concurrent_dispatches integer     not null,
    retry_config              jsonb       not null,
    task_ttl_seconds          bigint      not null,
    tombstone_ttl_seconds     bigint      not null,
    version                   bigint      not null,
    created_at                timestamptz not null,
    updated_at                timestamptz not null,
    constraint task_queue_pkey primary key (org_id, name),
    constraint task_queue_name_form check (name ~ '^[A-Za-z0-9-]{1,100}$'),
    constraint task_queue_state_known check (state in ('running', 'paused', 'draining')),
    constraint task_queue_limits_positive check (max_dispatches_per_second > 0 and max_burst_size > 0
        and max_concurrent_dispatches > 0 and task_ttl_seconds > 0 and tombstone_ttl_seconds >= 0)
);

alter table task
    alter column subject_type drop not null,
    alter column subject_id drop not null,
    alter column subject_id type text using subject_id::text,
    add column name text collate "C",
    add column destination text collate "C",
    add column limit_key text,
    add column units integer not null default 1,
    add column ordering_key text,
    add column fairness_key text,
    add column fairness_weight real,
    add column priority smallint not null default 1,
    add column scheduled_at timestamptz, -- null: at once
    add column expires_at timestamptz,   -- after that it is too late: it is discarded
    add column timeout_seconds integer,  -- of one attempt; null: as its kind or destination says
    add column retry_config jsonb,       -- null: as its queue or kind says
    add column idempotency_key text,     -- null: its own id
    add column traceparent text,
    add column tags text[],
    add column replay_of uuid,
    add constraint task_units_positive check (units > 0),
    add constraint task_priority_range check (priority between 1 and 4),
    add constraint task_fairness_weight_positive check (fairness_weight > 0);
drop index task_subject_idx;
create index task_subject_idx on task (subject_id) where subject_id is not null;
create index task_destination_idx on task (org_id, destination, id) where destination is not null;

-- The state says what due_at is: when it is wanted (scheduled, retryable), since when it may be worked on (available, blocked),
-- when its lease ends (running). A line is what is claimed from: the tasks of one queue, destination, limit key, fairness
-- key and number of units, named by their hash.
alter table task_live
    add column line uuid,
    add column state text,
    add column priority smallint not null default 1,
    add column turn uuid,                               -- queue and ordering key, named by their hash
    add column key text collate "C",                    -- what it holds in task_key
    add column rate_limited integer not null default 0, -- attempts turned away by the other side
    add column lost smallint not null default 0,        -- leases lost, one after the other
    add column cancelled boolean not null default false,
    add column first_failed_at timestamptz,
    add column claimed_from timestamptz;                -- its due_at before it was claimed: its place in its line
-- The line of a task that has neither destination nor limit key nor fairness key, as Go makes it.
update task_live set
    line = encode(substr(sha256(convert_to('', 'UTF8') || uuid_send(org_id) || int4send(octet_length(queue)) || convert_to(queue, 'UTF8')
        || int4send(0) || int4send(0) || int4send(0) || int4send(1)), 1, 16), 'hex')::uuid,
    state = case when lease_token is not null then 'running' when attempt > 0 then 'retryable' else 'scheduled' end;
alter table task_live
    alter column line set not null,
    alter column state set not null,
    drop column queue,
    add constraint task_live_state_known check (state in ('scheduled', 'available', 'blocked', 'running', 'retryable')),
    add constraint task_live_state_leased check ((state = 'running') = (lease_token is not null)),
    add constraint task_live_blocked_ordered check (state <> 'blocked' or turn is not null);
drop index task_live_due_idx;
create index task_live_line_idx on task_live (line, priority, due_at) where state = 'available';
create index task_live_due_idx on task_live (due_at) where state in ('scheduled', 'running', 'retryable');
-- Of the tasks with the same ordering key one is not blocked: the one whose turn it is.
create unique index task_live_turn_key on task_live (org_id, turn) where turn is not null and state <> 'blocked';
create index task_live_blocked_idx on task_live (turn, task_id) where state = 'blocked';

-- Names and unique keys. A key is taken while its task lives, and for some time after.
create table task_key (
    org_id     uuid        not null,
    key        text        not null collate "C",
    task_id    uuid        not null,
    keep_us    bigint      not null, -- how long it stays taken after the task has ended, in microseconds
    expires_at timestamptz,          -- null: while the task lives
    constraint task_key_pkey primary key (org_id, key)
);
create index task_key_expiry_idx on task_key (expires_at) where expires_at is not null;

alter table task_attempt
    drop constraint task_attempt_outcome_known,
    add constraint task_attempt_outcome_known check (outcome in ('succeeded', 'failed', 'snoozed', 'timed_out', 'rate_limited',
        'interrupted', 'lease_lost', 'unknown', 'held', 'cancelled', 'expired')),
    add column status smallint, -- HTTP status of the answer
    add column exchange json;   -- request and answer, redacted and cut

-- What has failed for good, until somebody resolves it. It holds all that a replay needs: the task itself may be retired before.
create table task_dead_letter (
    org_id          uuid        not null,
    task_id         uuid        not null,
    queue           text        not null,
    destination     text,
    kind            text        not null,
    subject_type    text,
    subject_id      text,
    reason          text        not null,
    error_code      text,
    error           text,
    status          smallint,
    fingerprint     text        not null,
    attempts        integer     not null,
    first_failed_at timestamptz,
    dead_at         timestamptz not null,
    resolution      text        not null default 'open',
    resolved_at     timestamptz,
    resolved_by     text,
    note            text,
    replayed_as     uuid,
    spec            json        not null, -- the task as it was queued
    constraint task_dead_letter_pkey primary key (org_id, task_id),
    constraint task_dead_letter_reason_known check (reason in
        ('max_attempts', 'max_retry_duration', 'max_rate_limited', 'non_retryable', 'expired', 'poison')),
    constraint task_dead_letter_resolution_known check (resolution in ('open', 'replayed', 'discarded')),
    constraint task_dead_letter_resolved_whole check ((resolution = 'open') = (resolved_at is null))
);
create index task_dead_letter_open_idx on task_dead_letter (org_id, dead_at, task_id) where resolution = 'open';
create index task_dead_letter_group_idx on task_dead_letter (org_id, fingerprint, dead_at) where resolution = 'open';
create index task_dead_letter_resolved_idx on task_dead_letter (resolved_at) where resolution <> 'open';

-- +goose Down
drop table task_dead_letter;
alter table task_attempt
    drop column exchange,
    drop column status,
    drop constraint task_attempt_outcome_known,
    add constraint task_attempt_outcome_known
        check (outcome in ('succeeded', 'failed', 'snoozed', 'timed_out', 'rate_limited', 'interrupted', 'lease_lost')) not valid;
drop table task_key;
drop index task_live_blocked_idx;
drop index task_live_turn_key;
drop index task_live_due_idx;
drop index task_live_line_idx;
alter table task_live
    add column queue text not null default 'default',
    drop column line,
    drop column state,
    drop column priority,
    drop column turn,
    drop column key,
    drop column rate_limited,
    drop column lost,
    drop column cancelled,
    drop column first_failed_at,
    drop column claimed_from;
create index task_live_due_idx on task_live (due_at);
drop index task_destination_idx;
drop index task_subject_idx;
alter table task
    alter column subject_id type uuid using null,
    drop column name,
    drop column destination,
    drop column limit_key,
    drop column units,
    drop column ordering_key,
    drop column fairness_key,
    drop column fairness_weight,
    drop column priority,
    drop column scheduled_at,
    drop column expires_at,
    drop column timeout_seconds,
    drop column retry_config,
    drop column idempotency_key,
    drop column traceparent,
    drop column tags,
    drop column replay_of;
create index task_subject_idx on task (subject_id);
drop table task_queue;
