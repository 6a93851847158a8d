-- +goose Up

-- What a batch of commands that takes its keys for new has the database say.
create domain idempotency_keys_new as boolean constraint idempotency_keys_new check (value);

-- +goose Down
drop domain idempotency_keys_new;
