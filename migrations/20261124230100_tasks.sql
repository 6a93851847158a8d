-- +goose Up

-- Events are about something that has an id, and the name of a queue may be given to another one later.
alter table task_queue add column id uuid;
update task_queue
set id = (lpad(to_hex((extract(epoch from created_at) * 1000)::bigint), 12, '0') || '7' || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid;
alter table task_queue
    alter column id set not null,
    alter column id set default gen_random_uuid(); -- the binary before makes queues too

-- Queues and destinations that were made before their changes had events get one, which has their id, as no event has.
insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at)
select q.org_id, q.id, 'queue', q.id, 'queue.created', json_build_object('name', q.name, 'version', q.version), q.created_at
from task_queue q;
insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at)
select d.org_id, d.id, 'destination', d.id, 'destination.created', json_build_object('name', d.name, 'version', d.version), d.created_at
from destination d;

-- +goose Down
delete from event where aggregatetype = 'queue' or type in ('destination.created', 'destination.updated', 'destination.deleted');
alter table task_queue drop column id;
