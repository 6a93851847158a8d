-- +goose Up
create table organisation (
    id         uuid        not null,
    name       text        not null,
    created_at timestamptz not null default now(),
    constraint organisation_pkey primary key (id),
    constraint organisation_name_key unique (name),
    constraint organisation_name_form check (name ~ '^[a-z0-9][a-z0-9-]{0,62}$')
);

-- The key itself is shown once and never stored; hash is its SHA-256.
create table api_key (
    org_id     uuid        not null,
    id         uuid        not null,
    hash       bytea       not null,
    hint       text        not null, -- the last four characters, to tell keys apart
    name       text        not null,
    live       boolean     not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    constraint api_key_pkey primary key (org_id, id),
    constraint api_key_org_id_fkey foreign key (org_id) references organisation (id),
    constraint api_key_hash_length check (octet_length(hash) = 32)
);
-- A request comes with nothing but the key, so this one look-up cannot start with the organisation.
create unique index api_key_hash_key on api_key (hash);

-- +goose Down
drop table api_key;
drop table organisation;
