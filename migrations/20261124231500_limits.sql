-- +goose Up

-- What a node has used of a window and handed over to limit_cooling counts as its part of the slots while it cools there.
alter table limit_lease
    add column spent bigint not null default 0,
    add constraint limit_lease_spent_possible check (spent >= 0);

-- +goose Down
alter table limit_lease drop column spent;
