package events

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// hot
const insertSQL = `
	insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at)
	select e.org_id, e.id, e.aggregatetype, e.aggregateid, e.type, e.payload, coalesce(e.recorded_at, now())
	from (
		select unnest($1::uuid[]) as org_id, unnest($2::uuid[]) as id, unnest($3::text[]) as aggregatetype,
			unnest($4::uuid[]) as aggregateid, unnest($5::text[]) as type, unnest($6::json[]) as payload,
			unnest($7::timestamptz[]) as recorded_at
	) as e`

// Queue adds one statement to a batch of the transaction in which the events happen. Missing ids are filled in, in the
// caller's list. The order of one transaction's events is that of their ids: leave them zero, or let them rise. It does
// nothing for an empty list.
func (e *Events) Queue(b *pgx.Batch, list []Event) {
	if len(list) == 0 {
		return
	}
	n := len(list)
	e.metrics.written.Add(float64(n))
	orgs, eventIDs, aggregates := make([]ids.ID, n), make([]ids.ID, n), make([]ids.ID, n)
	aggregateTypes, types := make([]string, n), make([]string, n)
	payloads, recorded := make([][]byte, n), make([]*time.Time, n)
	for i := range list {
		event := &list[i]
		if event.ID.IsZero() {
			event.ID = e.source.New()
		}
		orgs[i], eventIDs[i], aggregates[i] = event.OrgID, event.ID, event.AggregateID
		aggregateTypes[i], types[i], payloads[i] = event.AggregateType, event.Type, event.Payload
		if !event.RecordedAt.IsZero() {
			recorded[i] = &event.RecordedAt
		}
	}
	b.Queue(insertSQL, orgs, eventIDs, aggregateTypes, aggregates, types, payloads, recorded)
}
