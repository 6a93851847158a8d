-- +goose Up

-- Accounts that were made before their creation had an event get one. It has the account's id, which no event has, and which lies in
-- the same partition as an event of that time.
insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at)
select a.org_id, a.id, 'ledger_account', a.id, 'ledger.account.created',
    json_build_object('code', a.code, 'type', a.type, 'asset', a.asset, 'scale', a.scale,
        'available_min', a.available_min, 'available_max', a.available_max, 'metadata', a.metadata),
    a.created_at
from ledger_account a;

-- +goose Down
delete from event where type = 'ledger.account.created';
