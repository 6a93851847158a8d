-- +goose Up

-- Work that comes again and again. ticks_after is how far the schedule's ticks have been accounted for: next_tick_at is the first
-- after it, by the rule in cron and time_zone. It only moves on, so that no tick is made twice, whatever is edited.
create table schedule (
    org_id                uuid        not null,
    id                    uuid        not null,
    name                  text        not null collate "C",
    state                 text        not null,
    pause_reason          text,
    cron                  text        not null,
    time_zone             text        not null,
    misfire_policy        text        not null,
    misfire_max           integer     not null,
    misfire_grace_seconds integer     not null,
    queue                 text        not null,
    destination           text,
    kind                  text,
    args                  json,
    http_request          json,
    terms                 json        not null, -- how the tasks are worked on
    anchor_at             timestamptz not null, -- what @every counts from
    ticks_after           timestamptz not null,
    last_tick_at          timestamptz,
    next_tick_at          timestamptz,          -- null: paused
    version               bigint      not null,
    created_at            timestamptz not null,
    updated_at            timestamptz not null,
    constraint schedule_pkey primary key (org_id, id),
    constraint schedule_name_form check (name ~ '^[A-Za-z0-9-]{1,100}$'),
    constraint schedule_state_known check (state in ('active', 'paused')),
    constraint schedule_state_next check ((state = 'active') = (next_tick_at is not null)),
    constraint schedule_next_ahead check (next_tick_at > ticks_after),
    constraint schedule_last_accounted check (last_tick_at <= ticks_after),
    constraint schedule_misfire_known check (misfire_policy in ('skip', 'once', 'all')),
    constraint schedule_misfire_bounds check (misfire_max between 1 and 1000 and misfire_grace_seconds between 1 and 86400),
    constraint schedule_task_one check ((kind is null) <> (http_request is null) and (kind is null) = (args is null))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create index schedule_due_idx on schedule (next_tick_at);
-- Not org_id first: with it, the rows of a batch would be looked up by the organisation alone.
create unique index schedule_name_key on schedule (name, org_id);

-- A tick that was made into a task. Partitioned by the month of the tick and retired by dropping months; the check makes
-- the key one on the tick alone.
create table schedule_tick (
    org_id      uuid        not null,
    schedule_id uuid        not null,
    tick_at     timestamptz not null,
    period      date        not null, -- first day of the tick's month
    task_id     uuid        not null,
    missed      boolean     not null, -- made up for later
    created_at  timestamptz not null,
    constraint schedule_tick_pkey primary key (org_id, schedule_id, tick_at, period),
    constraint schedule_tick_period_follows check (period = date_trunc('month', tick_at at time zone 'UTC')::date),
    constraint schedule_tick_not_early check (tick_at <= created_at)
) partition by range (period);

-- +goose Down
drop table schedule_tick;
drop table schedule;
