-- +goose Up

-- Letters whose tasks could not be queued again, as things were when their turn came, and why the last of them could not.
alter table task_replay
    add column refused integer not null default 0,
    add column refusal text,
    add constraint task_replay_refusal_whole check ((refused > 0) = (refusal is not null));

-- +goose Down
alter table task_replay
    drop constraint task_replay_refusal_whole,
    drop column refused,
    drop column refusal;
