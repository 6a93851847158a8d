-- +goose Up

-- The client's certificate, its key and the other side's own authority, by reference as all secrets; and the headers of tasks as
-- Google's Cloud Tasks names them, for handlers that were written for those.
alter table destination
    add column tls jsonb not null default '{}',
    add column cloud_tasks_headers boolean not null default false;

-- +goose Down
alter table destination
    drop column tls,
    drop column cloud_tasks_headers;
