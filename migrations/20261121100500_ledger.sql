-- +goose Up
create table ledger_asset (
    org_id uuid     not null,
    code   text     not null,
    scale  smallint not null, -- decimal places of its smallest unit
    constraint ledger_asset_pkey primary key (org_id, code),
    constraint ledger_asset_scale_key unique (org_id, code, scale),
    constraint ledger_asset_code_form check (code ~ '^[A-Z][A-Z0-9_.-]{0,31}$'),
    constraint ledger_asset_scale_range check (scale between 0 and 18)
);

-- The form is checked where a code is written: as a constraint of the table it would be checked, at ten times the cost of
-- the rest, each time a balance changes.
create domain ledger_account_code as text collate "C"
    constraint ledger_account_code_form check (value ~ '^[A-Za-z0-9_.:-]{1,64}(/[A-Za-z0-9_.:-]{1,64}){0,15}$');

create domain ledger_account_type as text collate "C"
    constraint ledger_account_type_known check (value in ('asset', 'liability', 'income', 'expense', 'equity'));

create table ledger_account (
    org_id          uuid        not null,
    id              uuid        not null,
    code            ledger_account_code not null,
    type            ledger_account_type not null,
    asset           text        not null,
    scale           smallint    not null,
    available_min   bigint,
    available_max   bigint,
    debits_posted   bigint      not null default 0,
    credits_posted  bigint      not null default 0,
    debits_pending  bigint      not null default 0,
    credits_pending bigint      not null default 0,
    version         bigint      not null default 0, -- postings so far: the account's own sequence, without gaps
    recorded_at     timestamptz not null,           -- of the last posting; rises with version
    metadata        jsonb,
    created_at      timestamptz not null,
    constraint ledger_account_pkey primary key (org_id, id),
    constraint ledger_account_code_key unique (org_id, code),
    constraint ledger_account_asset_fkey foreign key (org_id, asset, scale) references ledger_asset (org_id, code, scale),
    constraint ledger_account_bounds_ordered check (available_min <= available_max),
    constraint ledger_account_not_negative
        check (debits_posted >= 0 and credits_posted >= 0 and debits_pending >= 0 and credits_pending >= 0),
    -- What can still go out: the posted balance less the holds against it.
    constraint ledger_account_available_min check (
        available_min is null or available_min <= case when type in ('asset', 'expense')
            then debits_posted - credits_posted - credits_pending
            else credits_posted - debits_posted - debits_pending end),
    -- What it would come to if every hold in its favour were posted.
    constraint ledger_account_available_max check (
        available_max is null or available_max >= case when type in ('asset', 'expense')
            then debits_posted - credits_posted + debits_pending
            else credits_posted - debits_posted + credits_pending end)
) with (fillfactor = 50);

-- Facts that never change, but for the state of a pending entry.
create table ledger_entry (
    org_id        uuid        not null,
    id            uuid        not null,
    state         text        not null,
    code          text        not null,
    reference     text collate "C",
    reversal_of   uuid,
    subject_id    uuid,        -- what the entry is about: a payment, say
    posting_count integer     not null,
    effective_at  timestamptz, -- null: when it was recorded
    recorded_at   timestamptz not null,
    expires_at    timestamptz,
    metadata      jsonb,
    constraint ledger_entry_pkey primary key (org_id, id),
    constraint ledger_entry_state_known check (state in ('posted', 'pending', 'voided', 'expired')),
    constraint ledger_entry_posting_count_range check (posting_count between 1 and 100)
) with (fillfactor = 90);
create unique index ledger_entry_reference_key on ledger_entry (org_id, reference) where reference is not null;
create unique index ledger_entry_reversal_key on ledger_entry (org_id, reversal_of) where reversal_of is not null;
create index ledger_entry_pending_idx on ledger_entry (org_id, id) where state = 'pending';
create index ledger_entry_subject_idx on ledger_entry (org_id, subject_id) where subject_id is not null;
create index ledger_entry_expiry_idx on ledger_entry (expires_at) where state = 'pending' and expires_at is not null;

-- Append-only. A row moves amount from a debit account to a credit account, and keeps both accounts' balances after it, so
-- that any past balance is one look-up and every account's chain can be checked link by link.
create table ledger_posting (
    org_id                 uuid        not null,
    entry_id               uuid        not null,
    number                 integer     not null, -- 0-based: the entry's own postings first, then those that settle or release them
    origin                 integer     not null, -- the number of the posting it settles or releases; its own otherwise
    phase                  text        not null,
    amount                 bigint      not null,
    recorded_at            timestamptz not null,
    effective_at           timestamptz,
    debit_account_id       uuid        not null,
    debit_version          bigint      not null,
    debit_debits_posted    bigint      not null,
    debit_credits_posted   bigint      not null,
    debit_debits_pending   bigint      not null,
    debit_credits_pending  bigint      not null,
    credit_account_id      uuid        not null,
    credit_version         bigint      not null,
    credit_debits_posted   bigint      not null,
    credit_credits_posted  bigint      not null,
    credit_debits_pending  bigint      not null,
    credit_credits_pending bigint      not null,
    constraint ledger_posting_pkey primary key (org_id, entry_id, number),
    constraint ledger_posting_phase_known check (phase in ('posted', 'pending', 'settled', 'released')),
    constraint ledger_posting_amount_positive check (amount > 0),
    constraint ledger_posting_accounts_differ check (debit_account_id <> credit_account_id)
);
-- Account ids are unique by themselves; without the organisation these two are half the size, and they are the dearest to keep.
create index ledger_posting_debit_idx on ledger_posting (debit_account_id, recorded_at);
create index ledger_posting_credit_idx on ledger_posting (credit_account_id, recorded_at);
create index ledger_posting_debit_effective_idx on ledger_posting (debit_account_id, effective_at) where effective_at is not null;
create index ledger_posting_credit_effective_idx on ledger_posting (credit_account_id, effective_at) where effective_at is not null;

-- +goose Down
drop table ledger_posting;
drop table ledger_entry;
drop table ledger_account;
drop domain ledger_account_code;
drop domain ledger_account_type;
drop table ledger_asset;
