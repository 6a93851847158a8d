package command

import "github.com/kontorhq/kontor/internal/kit/proof"

// Proof is what must be true of the idempotency records themselves. That each has its resource is proven where the
// resources are known.
func Proof() proof.Part {
	return proof.Part{
		Populations: []proof.Population{{Name: "idempotency records", SQL: countRecordsSQL}},
		Checks: []proof.Check{
			{
				Name: "command.keys.once", SQL: contradictoryKeysSQL,
				Sentence: "Within 30 days a key has one answer, to one request.",
			},
			{
				Name: "command.records.whole", SQL: malformedRecordsSQL,
				Sentence: "Every idempotency record lies in the month of its writing, with a fingerprint and a status to answer with; what was refused made nothing.",
			},
		},
	}
}

const countRecordsSQL = `select count(*) from idempotency_record`

// At the turn of a month a record is written to both months; see writeRecordsSQL. The two are one answer.
const contradictoryKeysSQL = `
	select a.org_id, a.key, format('it was answered at %s and, otherwise, at %s', a.created_at, b.created_at), count(*) over ()
	from idempotency_record a
	join idempotency_record b on b.org_id = a.org_id and b.key = a.key
	where b.period > a.period and b.created_at < a.created_at + interval '30 days'
		and (b.fingerprint <> a.fingerprint or b.status <> a.status or b.answer <> a.answer or b.subject_id is distinct from a.subject_id)
	order by 4, 1, 2 limit 10`

const malformedRecordsSQL = `
	select r.org_id, r.key, format('status %s, for %s, a fingerprint of %s bytes, written at %s into the month of %s', r.status,
		coalesce(r.subject_id::text, 'nothing'), octet_length(r.fingerprint), r.created_at, r.period), count(*) over ()
	from idempotency_record r
	where octet_length(r.fingerprint) <> 32 or r.status not between 200 and case when r.subject_id is null then 499 else 299 end
		or r.period not in (date_trunc('month', r.created_at)::date, (date_trunc('month', r.created_at) - interval '1 month')::date)
	order by 4, 1, 2 limit 10`
