-- +goose Up

-- A replay of many dead letters: what is to be replayed and how, and how far it has come. It goes through the letters from the
-- earliest on, up to those that were there when it was asked for.
create table task_replay (
    org_id                    uuid        not null,
    id                        uuid        not null,
    task_id                   uuid        not null, -- carries it out
    filter                    jsonb       not null,
    new_key                   boolean     not null,
    max_dispatches_per_second integer     not null,
    canary                    integer     not null, -- so many first; 0: all at once
    stop_at_failure_percent   integer     not null,
    requested_by              text        not null,
    state                     text        not null default 'running',
    after_dead_at             timestamptz not null, -- up to where it has come
    after_task_id             uuid        not null,
    until_dead_at             timestamptz not null,
    exhausted                 boolean     not null default false, -- no letter is left
    next_at                   timestamptz not null, -- when the next task is wanted
    replayed                  integer     not null default 0,
    succeeded                 integer     not null default 0,
    failed                    integer     not null default 0,
    taken_back                integer     not null default 0, -- cancelled before they were begun; their letters are open again
    created_at                timestamptz not null,
    updated_at                timestamptz not null,
    ended_at                  timestamptz,
    constraint task_replay_pkey primary key (org_id, id),
    constraint task_replay_state_known check (state in ('running', 'completed', 'stopped', 'cancelled')),
    constraint task_replay_ended_whole check ((state = 'running') = (ended_at is null)),
    constraint task_replay_bounds_sane check (max_dispatches_per_second > 0 and canary >= 0 and stop_at_failure_percent between 0 and 100)
);

-- The tasks of a replay, numbered as they were queued.
create table task_replay_item (
    org_id    uuid    not null,
    replay_id uuid    not null,
    number    integer not null,
    letter_id uuid    not null, -- the task whose dead letter it was
    task_id   uuid    not null,
    outcome   text,             -- null: not known yet
    constraint task_replay_item_pkey primary key (org_id, replay_id, number),
    constraint task_replay_item_replay_id_fkey foreign key (org_id, replay_id) references task_replay (org_id, id) on delete cascade,
    constraint task_replay_item_outcome_known check (outcome in ('succeeded', 'failed', 'taken_back'))
);
create index task_replay_item_open_idx on task_replay_item (replay_id, number) where outcome is null;

-- Lists of one subject's tasks are in the order of their ids. Without the organisation in front, a planner that knows nothing of the
-- table would rather go through all of an organisation's tasks; being partial, the index is not mistaken for the key.
drop index task_subject_idx;
create index task_subject_idx on task (org_id, subject_id, id) where subject_id is not null;

-- +goose Down
drop index task_subject_idx;
create index task_subject_idx on task (subject_id) where subject_id is not null;
drop table task_replay_item;
drop table task_replay;
