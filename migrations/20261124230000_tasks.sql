-- +goose Up

-- A queue may dispatch less than one task a second: 0.5 is one in two seconds. Thousandths are exact in a numeric.
alter table task_queue alter column max_dispatches_per_second type numeric(9, 3);

-- +goose Down
alter table task_queue alter column max_dispatches_per_second type integer using greatest(1, floor(max_dispatches_per_second))::integer;
