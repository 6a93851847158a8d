package command

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// claim says which commands of a batch are to be carried out.
type claim struct {
	fresh  []int       // positions, in the batch's order
	copies map[int]int // position of a repeat within the batch -> position of the first
	keyed  []int       // fresh positions with a key
}

// keys are those of a batch's commands that have one.
type keys struct {
	orgs      []ids.ID
	keys      []string
	positions []int32
}

// ofMetas lists the keys, and which commands repeat an earlier one of the batch.
func ofMetas(metas []Meta) (k keys, copies map[int]int) {
	type orgKey struct {
		org ids.ID
		key string
	}
	copies = map[int]int{}
	first := make(map[orgKey]int, len(metas))
	for i, m := range metas {
		if m.Key == "" {
			continue
		}
		if leader, seen := first[orgKey{m.OrgID, m.Key}]; seen {
			copies[i] = leader
		} else {
			first[orgKey{m.OrgID, m.Key}] = i
		}
		k.orgs, k.keys, k.positions = append(k.orgs, m.OrgID), append(k.keys, m.Key), append(k.positions, int32(i))
	}
	return k, copies
}

// A key is looked up in every month in which its record may lie, one index probe each. The offset keeps the planner from
// making a join of it: on the statistics of an empty table it would compare every record of those months with every key.

// hot
const findRecordsSQL = `
	select k.position, r.fingerprint, r.status, r.answer, r.subject_id
	from unnest($1::uuid[], $2::text[], $3::integer[]) as k (org_id, key, position)
	cross join lateral (
		select i.fingerprint, i.status, i.answer, i.subject_id
		from idempotency_record i
		where i.org_id = k.org_id and i.key = k.key
			and i.period >= date_trunc('month', now() - interval '30 days')::date and i.period <= now()::date
		offset 0
	) as r`

// claimKeys fills in the outcomes that are recorded already and tells which commands are left to do. Repeats within the batch
// follow the first one. The time comes along: the body may want it.
func claimKeys(ctx context.Context, tx postgres.Tx, metas []Meta, outcomes []Outcome) (claim, error) {
	k, copies := ofMetas(metas)
	recorded := make([]bool, len(metas))
	if len(k.keys) > 0 {
		postgres.AskNow(tx)
		if err := findRecords(ctx, tx, k, metas, outcomes, recorded); err != nil {
			return claim{}, err
		}
	}
	return left(metas, copies, recorded), nil
}

// hot
const checkKeysSQL = `
	select (not exists (
		select
		from unnest($1::uuid[], $2::text[]) as k (org_id, key)
		cross join lateral (
			select
			from idempotency_record i
			where i.org_id = k.org_id and i.key = k.key
				and i.period >= date_trunc('month', now() - interval '30 days')::date and i.period <= now()::date
			offset 0
		) as r
	))::idempotency_keys_new`

// guessKeys takes all keys for new, as they mostly are, and has the database say so with what follows, so that nobody waits for the
// answer. Where one is not, nothing that follows is carried out, and the transaction runs again and asks.
func guessKeys(ctx context.Context, tx postgres.Tx, metas []Meta, _ []Outcome) (claim, error) {
	k, copies := ofMetas(metas)
	if len(k.keys) > 0 {
		batch := &pgx.Batch{}
		batch.Queue(checkKeysSQL, k.orgs, k.keys)
		if err := postgres.SendLater(ctx, tx, batch, explainKeys); err != nil {
			return claim{}, err
		}
	}
	return left(metas, copies, make([]bool, len(metas))), nil
}

func explainKeys(err error) error {
	if postgres.Constraint(err) == "idempotency_keys_new" {
		return postgres.ErrAgain
	}
	return fmt.Errorf("look up idempotency keys: %w", err)
}

// left is what is not recorded yet.
func left(metas []Meta, copies map[int]int, recorded []bool) claim {
	c := claim{copies: copies}
	for i, m := range metas {
		if recorded[i] {
			delete(c.copies, i)
			continue
		}
		if _, isCopy := c.copies[i]; isCopy {
			continue
		}
		c.fresh = append(c.fresh, i)
		if m.Key != "" {
			c.keyed = append(c.keyed, i)
		}
	}
	return c
}

func findRecords(ctx context.Context, tx postgres.Tx, k keys, metas []Meta, outcomes []Outcome, recorded []bool) error {
	rows, err := tx.Query(ctx, findRecordsSQL, k.orgs, k.keys, k.positions)
	if err != nil {
		return fmt.Errorf("look up idempotency keys: %w", err)
	}
	var position int32
	var fingerprint, body []byte
	var status int16
	var subject *ids.ID
	_, err = pgx.ForEachRow(rows, []any{&position, &fingerprint, &status, &body, &subject}, func() error {
		recorded[position] = true
		if !sameRequest(fingerprint, metas[position].Fingerprint) {
			outcomes[position] = Outcome{Err: ErrKeyReused}
			return nil
		}
		answer := Answer{Status: int(status), Body: append([]byte(nil), body...), Replayed: true}
		if subject != nil {
			answer.SubjectID = *subject
		}
		outcomes[position] = Outcome{Answer: answer}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look up idempotency keys: %w", err)
	}
	return nil
}

// follow gives a repeat the outcome of the first.
func follow(metas []Meta, outcomes []Outcome, repeat, first int) {
	if metas[repeat].Fingerprint != metas[first].Fingerprint {
		outcomes[repeat] = Outcome{Err: ErrKeyReused}
		return
	}
	outcomes[repeat] = Outcome{Answer: outcomes[first].Answer, Err: outcomes[first].Err}
	outcomes[repeat].Answer.Replayed = outcomes[first].Err == nil
}

// A record goes into the month of the database's clock. For a quarter of an hour after the turn of a month it goes into the
// month before as well: a transaction that began before the turn and is still open (none lives for so long) holds
// its key there, and the unique index makes the two meet.

// hot
const writeRecordsSQL = `
	with period as (
		select date_trunc('month', now())::date as first_day
		union all
		select (date_trunc('month', now()) - interval '1 month')::date
		where now() < date_trunc('month', now()) + interval '15 minutes'
	)
	insert into idempotency_record (org_id, key, period, fingerprint, status, answer, subject_id)
	select r.org_id, r.key, period.first_day, r.fingerprint, r.status, r.answer, r.subject_id
	from unnest($1::uuid[], $2::text[], $3::bytea[], $4::smallint[], $5::bytea[], $6::uuid[])
		as r (org_id, key, fingerprint, status, answer, subject_id)
	cross join period`

// record writes the answers of the commands that were carried out, in the order of their keys, and hands them to the
// repeats within the batch.
func (r *Runner) record(ctx context.Context, tx postgres.Tx, metas []Meta, c claim, outcomes []Outcome) error {
	n := len(c.keyed)
	orgs, keys := make([]ids.ID, 0, n), make([]string, 0, n)
	prints, answers := make([][]byte, 0, n), make([][]byte, 0, n)
	statuses, subjects := make([]int16, 0, n), make([]*ids.ID, 0, n)
	inKeyOrder(c.keyed, metas)
	for _, i := range c.keyed {
		answer := outcomes[i].Answer
		if err := outcomes[i].Err; err != nil {
			if !final(err) {
				continue
			}
			answer = r.problem(err, metas[i].RequestID)
		}
		var subject *ids.ID
		if !answer.SubjectID.IsZero() {
			subject = &answer.SubjectID
		}
		if answer.Body == nil {
			answer.Body = []byte{}
		}
		orgs, keys, prints = append(orgs, metas[i].OrgID), append(keys, metas[i].Key), append(prints, metas[i].Fingerprint[:])
		statuses, answers, subjects = append(statuses, int16(answer.Status)), append(answers, answer.Body), append(subjects, subject)
	}
	if len(keys) > 0 {
		batch := &pgx.Batch{}
		batch.Queue(writeRecordsSQL, orgs, keys, prints, statuses, answers, subjects)
		if err := postgres.SendLater(ctx, tx, batch, explainRecord); err != nil {
			return err
		}
	}
	for repeat, first := range c.copies {
		follow(metas, outcomes, repeat, first)
	}
	return nil
}

// explainRecord knows the primary keys of the months, which PostgreSQL has named.
func explainRecord(err error) error {
	if name := postgres.Constraint(err); strings.HasPrefix(name, "idempotency_record_") && strings.HasSuffix(name, "_pkey") {
		return postgres.ErrAgain // another transaction took a key in the meantime; the next run will find its record
	}
	return fmt.Errorf("write idempotency records: %w", err)
}
