package limits

import "github.com/kontorhq/kontor/internal/kit/proof"

// Proof is what must be true of limits. That no more slots are given out than there are cannot be seen afterwards: a limit may have
// been lowered since.
func Proof() proof.Part {
	return proof.Part{
		Populations: []proof.Population{{Name: "limits in use", SQL: countSQL}},
		Checks: []proof.Check{{
			Name: "limits.slots.kept", SQL: sweptSlotsSQL,
			Sentence: "No limit is forgotten before all its leases and periods are over.",
		}},
	}
}

const countSQL = `select count(*) from limit_key`

const sweptSlotsSQL = `
	with lasting as (
		select l.org_id, l.name, max(l.ends_at + l.period * interval '1 microsecond') as over_at
		from limit_lease l
		group by l.org_id, l.name
		union all
		select c.org_id, c.name, max(c.free_at)
		from limit_cooling c
		group by c.org_id, c.name
	)
	select k.org_id, k.name, format('it may be forgotten at %s, and slots are in use until %s', k.quiet_at, max(l.over_at)), count(*) over ()
	from lasting l
	join limit_key k on k.org_id = l.org_id and k.name = l.name
	group by k.org_id, k.name, k.quiet_at
	having max(l.over_at) > k.quiet_at
	order by 4, 1, 2 limit 10`
