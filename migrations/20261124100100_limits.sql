-- +goose Up

-- What is limited, and the lock for all about it. A window is a limit and a period in microseconds; a period of 0 limits what
-- is done at a time. Rows nobody has used for a while are removed, with what hangs on them.
create table limit_key (
    org_id   uuid        not null,
    name     text        not null,
    version  bigint      not null,
    periods  bigint[]    not null,
    limits   bigint[]    not null,
    quiet_at timestamptz not null, -- not before all leases and periods are over
    constraint limit_key_pkey primary key (org_id, name),
    constraint limit_key_windows_paired check (cardinality(periods) = cardinality(limits))
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
-- Moves every few minutes only, so that most updates of a row stay within its page.
create index limit_key_quiet_idx on limit_key (quiet_at);

-- The slots of a window that a node holds. After ends_at they count as used until the window's period is over.
create table limit_lease (
    org_id  uuid        not null,
    name    text        not null,
    period  bigint      not null,
    holder  uuid        not null, -- a process: after a restart it is another one
    node    text        not null, -- its name, for people
    held    bigint      not null,
    usable  bigint      not null, -- how many of those the node may use; the rest goes back as it comes free
    busy    bigint      not null, -- how many of the held were in use or not free again yet, when the row was written
    want    bigint      not null, -- how many the node has use for
    unit    bigint      not null, -- how many one use of it takes
    ends_at timestamptz not null,
    turn    bigint      not null, -- which of the holder's refreshes wrote the row
    constraint limit_lease_pkey primary key (org_id, name, period, holder),
    constraint limit_lease_key_fkey foreign key (org_id, name) references limit_key on delete cascade,
    constraint limit_lease_counts_possible check (held >= usable and usable >= 0 and busy >= 0 and want >= 0 and unit > 0)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Slots of a window that were used and are free again at a time, whoever used them.
create table limit_cooling (
    org_id  uuid        not null,
    name    text        not null,
    period  bigint      not null,
    free_at timestamptz not null,
    units   bigint      not null,
    constraint limit_cooling_pkey primary key (org_id, name, period, free_at),
    constraint limit_cooling_key_fkey foreign key (org_id, name) references limit_key on delete cascade,
    constraint limit_cooling_units_positive check (units > 0)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- +goose Down
drop table limit_cooling;
drop table limit_lease;
drop table limit_key;
