-- +goose Up

-- A limit key of a destination that the other side has asked to be left alone, such as a tenant whose quota is used up. revision
-- rises from one change of a destination's keys to the next, so that a node reads what is new to it.
create table destination_limited_key (
    org_id         uuid        not null,
    destination_id uuid        not null,
    limit_key      text        not null,
    limited_until  timestamptz not null,
    last_error     text        not null,
    revision       bigint      not null,
    constraint destination_limited_key_pkey primary key (org_id, destination_id, limit_key),
    constraint destination_limited_key_destination_id_fkey foreign key (org_id, destination_id) references destination (org_id, id)
        on delete cascade
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
-- Not org_id first, or it would be taken for as good as the primary key while the table is small.
create index destination_limited_key_revision_idx on destination_limited_key (destination_id, revision);

-- +goose Down
drop table destination_limited_key;
