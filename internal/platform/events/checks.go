package events

import "github.com/kontorhq/kontor/internal/kit/proof"

// Proof is what must be true of the log itself. That every change has its event, and every event its aggregate, is
// proven by the modules that publish them.
func Proof() proof.Part {
	return proof.Part{
		Populations: []proof.Population{{Name: "events", SQL: countEventsSQL}},
		Checks: []proof.Check{
			{
				Name: "events.log.once", SQL: repeatedEventsSQL,
				Sentence: "Every event is in the log once.",
			},
			{
				Name: "events.log.readable", SQL: unreadableEventsSQL,
				Sentence: "Every event can be read: its transaction is not ahead of the database's.",
			},
			{
				Name: "events.inbox.counts", SQL: impossibleMessagesSQL,
				Sentence: "Of no message more repeats differ than came.",
			},
		},
	}
}

const countEventsSQL = `select count(*) from event`

// The key has the transaction in it, so it does not keep one event from being there twice.
const repeatedEventsSQL = `
	select e.org_id, 'evt:' || e.id, format('%s is in the log %s times', min(e.type), count(*)), count(*) over ()
	from event e
	group by e.org_id, e.id
	having count(*) > 1
	order by 4, 1, 2 limit 10`

// Readers see what is below the oldest transaction that is open. A log that was restored into a younger cluster has numbers that
// this one has yet to reach: its events would stay unseen, and then appear out of their order.
const unreadableEventsSQL = `
	select e.org_id, 'evt:' || e.id, format('%s was written by transaction %s, and the database has only come to %s', e.type, e.xid,
		pg_snapshot_xmax(pg_current_snapshot())), count(*) over ()
	from event e
	where e.xid >= (select pg_snapshot_xmax(pg_current_snapshot())) and e.xid is distinct from (select pg_current_xact_id_if_assigned())
	order by 4, 1, e.xid, e.id limit 10`

const impossibleMessagesSQL = `
	select m.org_id, m.source || ' ' || m.message_id, format('%s repeats, %s of them with another payload', m.repeats, m.mismatches), count(*) over ()
	from inbox_record m
	where m.mismatches < 0 or m.mismatches > m.repeats
	order by 4, 1, 2 limit 10`
