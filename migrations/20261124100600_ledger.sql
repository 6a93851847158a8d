-- +goose Up

-- What an update of balances says of itself: that it has found all the rows it was for.
create domain ledger_accounts_found as boolean constraint ledger_accounts_found check (value);

-- +goose Down
drop domain ledger_accounts_found;
