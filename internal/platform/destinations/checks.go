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

// What is wrong is named, never shown.
const literalSecretsSQL = `
	select d.org_id, 'dst:' || d.id, format('the %s of %s is no reference', a.key, d.name), count(*) over ()
	from destination d
	cross join jsonb_each_text(d.auth) a
	where a.key in ('token', 'password', 'key', 'secret', 'client_secret') and a.value !~ '^(env:[A-Za-z0-9_]+|file:/.+)$'
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
