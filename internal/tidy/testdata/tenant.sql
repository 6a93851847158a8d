-- Rows first to last of a large tenant (organisation 1) and of some small ones (2 to 9): 19 of 20 rows are the large
-- one's. Every table that grows has them, in this month and the one before. id(n) is a UUIDv7 made at the row's time.
set session_replication_role = replica; -- foreign keys hold by construction

create or replace function pg_temp.org(n bigint) returns uuid immutable language sql as
    $$ select ('00000000-0000-0000-0000-' || lpad(case when n % 20 = 0 then 2 + n / 20 % 8 else 1 end::text, 12, '0'))::uuid $$;
create or replace function pg_temp.at(n bigint) returns timestamptz stable language sql as
    $$ select now() - (n % 27) * interval '1 day' - interval '1 minute' $$;
create or replace function pg_temp.id(n bigint, kind int) returns uuid stable language sql as
    $$ select (lpad(to_hex((extract(epoch from pg_temp.at(n)) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(kind), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid $$;

insert into organisation (id, name)
select distinct pg_temp.org(n), 'org-' || right(pg_temp.org(n)::text, 2) from generate_series(:first, :last) n on conflict do nothing;
insert into api_key (org_id, id, hash, hint, name, live)
select pg_temp.org(n), pg_temp.id(n, 1), sha256(n::text::bytea), 'abcd', 'key', true from generate_series(:first, :last, 10) n;

insert into ledger_asset (org_id, code, scale)
select distinct pg_temp.org(n), 'EUR', 2 from generate_series(:first, :last) n on conflict do nothing;
insert into ledger_account (org_id, id, code, type, asset, scale, recorded_at, created_at)
select pg_temp.org(n), pg_temp.id(n, 2), 'customers/' || n, 'liability', 'EUR', 2, now(), now() from generate_series(:first, :last) n;
insert into ledger_entry (org_id, id, state, code, reference, reversal_of, subject_id, posting_count, effective_at, recorded_at, expires_at)
select pg_temp.org(n), pg_temp.id(n, 3), case when n % 50 = 1 then 'pending' else 'posted' end, 'payment.authorise',
    case when n % 2 = 0 then 'order-' || n end, case when n % 100 = 7 then pg_temp.id(n, 9) end, case when n % 3 > 0 then pg_temp.id(n, 5) end,
    1, case when n % 10 = 0 then pg_temp.at(n) end, pg_temp.at(n), case when n % 50 = 1 then now() + (n % 100 - 5) * interval '1 hour' end
from generate_series(:first, :last) n;
-- Every other posting touches one of ten hot accounts.
insert into ledger_posting (org_id, entry_id, number, origin, phase, amount, recorded_at, effective_at,
    debit_account_id, debit_version, debit_debits_posted, debit_credits_posted, debit_debits_pending, debit_credits_pending,
    credit_account_id, credit_version, credit_debits_posted, credit_credits_posted, credit_debits_pending, credit_credits_pending)
select pg_temp.org(n), pg_temp.id(n, 3), 0, 0, case when n % 50 = 1 then 'pending' else 'posted' end, 100, pg_temp.at(n), case when n % 10 = 0 then pg_temp.at(n) end,
    pg_temp.id(case when n % 2 = 0 then n % 10 + 1 else n end, 2), n, 0, 0, 0, 0, pg_temp.id(n + 10, 2), n, 0, 0, 0, 0
from generate_series(:first, :last) n;

insert into payment (org_id, id, status, provider, currency, amount, amount_capturable, amount_captured, capture_method, token, reference,
    charge_id, hold_entry_id, authorisation_expires_at, created_at, updated_at)
select pg_temp.org(n), pg_temp.id(n, 5), case when n % 100 = 1 then 'processing' when n % 100 < 6 then 'authorised' else 'captured' end, 'sandbox', 'EUR', 100,
    case when n % 100 between 2 and 5 then 100 else 0 end, case when n % 100 > 5 then 100 else 0 end, 'automatic', 'tok_approved',
    case when n % 2 = 0 then 'order-' || n end, 'ch_' || n, pg_temp.id(n, 3),
    case when n % 100 between 2 and 5 then now() + (n % 168 - 2) * interval '1 hour' end, pg_temp.at(n), pg_temp.at(n)
from generate_series(:first, :last) n;
insert into payment_attempt (org_id, id, payment_id, task_id, kind, state, amount, entry_id, answer_status, answer, created_at, finished_at)
select pg_temp.org(n), pg_temp.id(n, 6), pg_temp.id(n, 5), pg_temp.id(n, 7), 'authorise', case when n % 100 = 1 then 'processing' else 'succeeded' end, 100,
    pg_temp.id(n, 3), case when n % 100 <> 1 then 201 end, case when n % 100 <> 1 then '{}'::json end, pg_temp.at(n), case when n % 100 <> 1 then pg_temp.at(n) end
from generate_series(:first, :last) n;

insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at)
select pg_temp.org(n), pg_temp.id(n, 8), 'payment', pg_temp.id(n, 5), 'payment.created', '{}', pg_temp.at(n) from generate_series(:first, :last) n;
insert into inbox_record (org_id, source, message_id, type, subject_id, payload_hash, occurred_at)
select pg_temp.org(n), 'sandbox', 'msg_' || n, 'charge.captured', pg_temp.id(n, 5), sha256(n::text::bytea), pg_temp.at(n) from generate_series(:first, :last) n;
insert into idempotency_record (org_id, key, period, fingerprint, status, answer, subject_id, created_at)
select pg_temp.org(n), 'key-' || n, date_trunc('month', pg_temp.at(n))::date, sha256(n::text::bytea), 202, '', pg_temp.id(n, 6), pg_temp.at(n) from generate_series(:first, :last) n;

insert into task (org_id, id, queue, kind, args, subject_type, subject_id, destination, created_at)
select pg_temp.org(n), pg_temp.id(n, 7), 'payments', 'payments.attempt', '{}', 'payment', pg_temp.id(n, 5), case when n % 2 = 0 then 'api-' || n % 10 end, pg_temp.at(n) from generate_series(:first, :last) n;
insert into task_live (org_id, task_id, line, state, turn, due_at, attempt, lease_token, leased_by, leased_at)
select pg_temp.org(n), pg_temp.id(n, 7), pg_temp.id(n % 10, 11), case when n % 2 = 0 then 'running' when n % 3 = 0 then 'available' when n % 7 = 0 then 'blocked' else 'retryable' end,
    case when n % 7 = 0 and n % 2 <> 0 and n % 3 <> 0 then pg_temp.id(n % 50, 12) end, now() + (n % 100 - 30) * interval '1 minute', 1,
    case when n % 2 = 0 then pg_temp.id(n, 7) end, case when n % 2 = 0 then 'a' end, case when n % 2 = 0 then now() end
from generate_series(:first, :last, 5) n;
insert into task_key (org_id, key, task_id, keep_us, expires_at)
select pg_temp.org(n), 'key-' || n, pg_temp.id(n, 7), 3600000000, case when n % 5 <> 1 then now() + (n % 100 - 30) * interval '1 minute' end from generate_series(:first, :last) n;
insert into schedule (org_id, id, name, state, cron, time_zone, misfire_policy, misfire_max, misfire_grace_seconds, queue, kind, args, terms, anchor_at,
    ticks_after, next_tick_at, version, created_at, updated_at)
select pg_temp.org(n), pg_temp.id(n, 11), 'schedule-' || n, 'active', '@hourly', 'UTC', 'once', 100, 60, 'default', 'test', '{}', '{}', pg_temp.at(n),
    pg_temp.at(n) - interval '1 day', now() + (n % 100 - 5) * interval '1 minute', 1, pg_temp.at(n), pg_temp.at(n)
from generate_series(:first, :last) n;
insert into schedule_tick (org_id, schedule_id, tick_at, period, task_id, missed, created_at)
select pg_temp.org(n), pg_temp.id(n, 11), date_trunc('hour', pg_temp.at(n)), date_trunc('month', date_trunc('hour', pg_temp.at(n)) at time zone 'UTC')::date,
    pg_temp.id(n, 7), false, pg_temp.at(n)
from generate_series(:first, :last) n;
insert into task_attempt (org_id, task_id, number, node, started_at, finished_at, outcome)
select pg_temp.org(n), pg_temp.id(n, 7), 1, 'a', pg_temp.at(n), pg_temp.at(n), 'succeeded' from generate_series(:first, :last) n;

insert into task_dead_letter (org_id, task_id, queue, kind, reason, fingerprint, attempts, dead_at, spec)
select pg_temp.org(n), pg_temp.id(n, 7), 'payments', 'http', 'max_attempts', lpad(to_hex(n % 50), 16, '0'), 20, pg_temp.at(n), '{}' from generate_series(:first, :last, 3) n;
insert into task_replay (org_id, id, task_id, filter, new_key, max_dispatches_per_second, canary, stop_at_failure_percent, requested_by,
    after_dead_at, after_task_id, until_dead_at, next_at, created_at, updated_at)
select pg_temp.org(n), pg_temp.id(n, 13), pg_temp.id(n, 7), '{}', false, 10, 0, 50, 'key', now(), pg_temp.id(n, 7), now(), now(), now(), now() from generate_series(:first, :last, 10) n;
insert into task_replay_item (org_id, replay_id, number, letter_id, task_id)
select pg_temp.org(n), pg_temp.id(n, 13), 1, pg_temp.id(n, 7), pg_temp.id(n, 7) from generate_series(:first, :last, 10) n;

insert into destination (org_id, id, name, base_url, auth, rate_limits, max_concurrent_dispatches, timeout_seconds, circuit_breaker, classifier,
    redact, allow_private_networks, allow_absolute_urls, max_response_bytes)
select pg_temp.org(n), pg_temp.id(n, 12), 'api-' || n, 'https://api.example', '{"type": "none"}', '[]', 0, 30, '{}', '{}', '{}', false, false, 65536
from generate_series(:first, :last) n;
insert into destination_state (org_id, destination_id)
select pg_temp.org(n), pg_temp.id(n, 12) from generate_series(:first, :last) n;
insert into destination_limited_key (org_id, destination_id, limit_key, limited_until, last_error, revision)
select pg_temp.org(n), pg_temp.id(n, 12), 'tenant-' || k, now() + (n % 100 - 50) * interval '1 minute', '429 Too Many Requests', k
from generate_series(:first, :last, 5) n, generate_series(1, 3) k;
insert into limit_key (org_id, name, version, periods, limits, quiet_at)
select pg_temp.org(n), 'destination/' || n, 1, '{0,60000000}', '{100,1000}', now() + (n % 600 - 5) * interval '1 second' from generate_series(:first, :last) n;
insert into limit_lease (org_id, name, period, holder, node, held, usable, busy, want, unit, ends_at, turn)
select pg_temp.org(n), 'destination/' || n, p, pg_temp.id(h, 10), 'a', 10, 10, 5, 10, 1, now(), n
from generate_series(:first, :last, 2) n, unnest('{0,60000000}'::bigint[]) p, generate_series(1, 2) h;
insert into limit_cooling (org_id, name, period, free_at, units)
select pg_temp.org(n), 'destination/' || n, 60000000, now() + c * interval '1 second', 3 from generate_series(:first, :last, 5) n, generate_series(-3, 3) c;
