-- +goose Up

-- An account at a third party's API: what people set. Secrets are references, never themselves.
create table destination (
    org_id                    uuid        not null,
    id                        uuid        not null,
    name                      text        not null,
    base_url                  text        not null,
    auth                      jsonb       not null,
    rate_limits               jsonb       not null,
    max_concurrent_dispatches bigint      not null, -- 0: as many as the queues allow
    timeout_seconds           bigint      not null,
    circuit_breaker           jsonb       not null,
    classifier                jsonb       not null,
    redact                    jsonb       not null,
    allow_private_networks    boolean     not null,
    allow_absolute_urls       boolean     not null,
    max_response_bytes        bigint      not null,
    version                   bigint      not null default 1,
    created_at                timestamptz not null default now(),
    updated_at                timestamptz not null default now(),
    constraint destination_name_form check (name ~ '^[A-Za-z0-9-]{1,100}$'),
    constraint destination_bounds_sane check (max_concurrent_dispatches >= 0 and timeout_seconds between 1 and 1800
        and max_response_bytes between 0 and 1048576),
    constraint destination_pkey primary key (org_id, id)
);
-- Not org_id first, or it would be taken for as good as the primary key while the table is small.
create unique index destination_name_key on destination (name, org_id);

-- What is learned at run time, the same for all nodes. Narrow and often updated, at most about once a second for each node.
create table destination_state (
    org_id             uuid        not null,
    destination_id     uuid        not null,
    -- Rises with whatever changes what may be sent. It begins with the time, so that a destination which is made again
    -- under the same name does not begin below the one before.
    revision           bigint      not null default (extract(epoch from clock_timestamp()) * 1000)::bigint,
    paused             boolean     not null default false,
    paused_until       timestamptz, -- null, while paused: until it is resumed
    pause_reason       text        not null default '',
    limited_until      timestamptz,
    auth_held_at       timestamptz,
    auth_mark          text        not null default '',
    breaker            text        not null default 'closed',
    breaker_spell      bigint      not null default 0,
    breaker_window_at  timestamptz,
    breaker_requests   bigint      not null default 0,
    breaker_failures   bigint      not null default 0,
    breaker_open_until timestamptz,
    breaker_openings   bigint      not null default 0,
    breaker_successes  bigint      not null default 0,
    learned_permille   bigint      not null default 1000,
    learned_at         timestamptz,
    learned_ceiling    bigint      not null default 0, -- 0: the other side has named no lower quota
    learned_ceiling_at timestamptz,
    last_error         text        not null default '',
    constraint destination_state_breaker_known check (breaker in ('closed', 'open', 'half_open')),
    constraint destination_state_breaker_open_has_end check (breaker <> 'open' or breaker_open_until is not null),
    constraint destination_state_learned_share check (learned_permille between 10 and 1000 and learned_ceiling between 0 and 1000),
    constraint destination_state_pkey primary key (org_id, destination_id),
    constraint destination_state_destination_id_fkey foreign key (org_id, destination_id) references destination (org_id, id)
        on delete cascade
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- +goose Down
drop table destination_state;
drop table destination;
