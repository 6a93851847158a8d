package destinations

import "github.com/kontorhq/kontor/internal/kit/proof"

// Proof is what must be true of destinations and what is learned of them.
func Proof() proof.Part {
	return proof.Part{
		Populations: []proof.Population{{Name: "destinations", SQL: countSQL}},
		Checks: []proof.Check{
			{
				Name: "destinations.state.there", SQL: statelessSQL,
				Sentence: "Every destination has a state.",
			},
			{
				Name: "destinations.events.complete", SQL: untoldChangesSQL,
				Sentence: "Every version of a destination has its event, and every destination that is gone the event of its end.",
			},
			{
				Name: "destinations.secrets.referenced", SQL: literalSecretsSQL,
				Sentence: "No destination has a secret itself: all are references to the environment or to files.",
			},
			{
				Name: "destinations.breaker.possible", SQL: impossibleBreakersSQL,
				Sentence: "Every breaker counts no more failures than requests, and has a position that its counts allow.",
			},
		},
	}
}

const countSQL = `select count(*) from destination`

const statelessSQL = `
	select d.org_id, 'dst:' || d.id, format('%s has no state', d.name), count(*) over ()
	from destination d
	where not exists (select from destination_state s where s.org_id = d.org_id and s.destination_id = d.id)
	order by 4, 1, 2 limit 10`

// The versions that events tell of are all there are, from the one that the destination was made at.
const untoldChangesSQL = `
	with told as (
		select e.org_id, e.aggregateid as id, min((e.payload ->> 'version')::bigint) as first, max((e.payload ->> 'version')::bigint) as last,
			count(*) filter (where e.type <> 'destination.deleted') as changes, count(*) filter (where e.type = 'destination.created') as births,
			count(*) filter (where e.type = 'destination.deleted') as ends
		from event e
		where e.type in ('destination.created', 'destination.updated', 'destination.deleted')
		group by e.org_id, e.aggregateid
	)
	select coalesce(d.org_id, t.org_id), 'dst:' || coalesce(d.id, t.id),
		case when d.id is null then format('it is gone, and its end was told %s times', t.ends)
			else format('it is at version %s, and %s changes were told, from version %s to %s', d.version, coalesce(t.changes, 0), t.first, t.last) end,
		count(*) over ()
	from destination d
	full join told t on t.org_id = d.org_id and t.id = d.id
	where t.id is null or t.births <> 1 or t.changes <> t.last - t.first + 1 or t.ends <> (d.id is null)::integer or d.version <> t.last
	order by 4, 1, 2 limit 10`

// What is wrong is named, never shown.
const literalSecretsSQL = `
	select d.org_id, 'dst:' || d.id, format('the %s of %s is no reference', a.key, d.name), count(*) over ()
	from destination d
	cross join jsonb_each_text(d.auth || jsonb_build_object('certificate', d.tls ->> 'certificate', 'ca', d.tls ->> 'ca', 'private_key', d.tls ->> 'key')) a
	where a.key in ('token', 'password', 'key', 'secret', 'client_secret', 'certificate', 'private_key', 'ca') and a.value !~ '^(env:[A-Za-z0-9_]+|file:/.+)$'
	order by 4, 1, 2 limit 10`

const impossibleBreakersSQL = `
	select s.org_id, 'dst:' || s.destination_id,
		format('%s, spell %s: %s failures of %s requests, %s successes, %s openings', s.breaker, s.breaker_spell, s.breaker_failures,
			s.breaker_requests, s.breaker_successes, s.breaker_openings),
		count(*) over ()
	from destination_state s
	where s.breaker_failures > s.breaker_requests or least(s.breaker_failures, s.breaker_successes, s.breaker_openings, s.breaker_spell) < 0
		or (s.breaker = 'closed') <> (s.breaker_openings = 0) or s.breaker_openings > s.breaker_spell
	order by 4, 1, 2 limit 10`
