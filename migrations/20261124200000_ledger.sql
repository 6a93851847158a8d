-- +goose Up

-- Accounts that were made before their creation had an event get one. It has the account's id, which no event has, and which lies in
-- the same partition as an event of that time. Its payload shows that id as events do: 26 times five bits of it.
insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at)
select a.org_id, a.id, 'ledger_account', a.id, 'ledger.account.created',
    json_build_object('id', 'acc_' || shown.id, 'code', a.code, 'type', a.type, 'asset', a.asset, 'scale', a.scale,
        'available_min', a.available_min, 'available_max', a.available_max, 'metadata', a.metadata),
    a.created_at
from ledger_account a
cross join lateral (
    select string_agg(substr('0123456789abcdefghjkmnpqrstvwxyz',
        1 + substring(B'00' || ('x' || replace(a.id::text, '-', ''))::bit(128) from 1 + 5 * n for 5)::bit(5)::integer, 1), '' order by n) as id
    from generate_series(0, 25) as n
) as shown;

-- +goose Down
delete from event where type = 'ledger.account.created';
