-- +goose Up

-- What has ended is forgotten when its time is over.
create index task_replay_ended_idx on task_replay (ended_at) where ended_at is not null;

-- +goose Down
drop index task_replay_ended_idx;
