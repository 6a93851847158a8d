package events

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Message is something another system told us: a webhook, a broker's message. OrgID, Source and ID together name it for
// good.
type Message struct {
	OrgID      ids.ID
	Source     string // who told us
	ID         string // the sender's id, the same over its repeats
	Type       string
	SubjectID  ids.ID   // what of ours it is about; zero: not known
	Hash       [32]byte // SHA-256 of the payload
	OccurredAt time.Time
}

// The rows go in in key order, so that two transactions with the same messages wait for each other instead of
// locking each other out.

// hot
const receiveSQL = `
	insert into inbox_record (org_id, source, message_id, type, subject_id, payload_hash, occurred_at, repeats, mismatches)
	select m.org_id, m.source, m.message_id, m.type, m.subject_id, m.payload_hash, m.occurred_at, m.copies - 1, m.mismatches
	from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::bytea[], $7::timestamptz[], $8::integer[], $9::integer[])
		as m (org_id, source, message_id, type, subject_id, payload_hash, occurred_at, copies, mismatches)
	order by m.org_id, m.source, m.message_id
	on conflict (org_id, source, message_id) do update
	set repeats = inbox_record.repeats + excluded.repeats + 1,
		mismatches = inbox_record.mismatches + case when inbox_record.payload_hash = excluded.payload_hash
			then excluded.mismatches else excluded.repeats + 1 end
	returning org_id, source, message_id, repeats`

type messageKey struct {
	org        ids.ID
	source, id string
}

// arrival is one message and its copies within a list.
type arrival struct {
	index      int // of the first
	copies     int
	mismatches int // copies with another payload than the first
}

// Receive takes messages into the inbox, in the transaction of their effect, and tells for each whether this is the first
// time; only then may it take effect. A repeat is counted, and so is one that brings another payload under the
// same id.
func (e *Events) Receive(ctx context.Context, tx postgres.Tx, list []Message) ([]bool, error) {
	first := make([]bool, len(list))
	if len(list) == 0 {
		return first, nil
	}
	arrivals, order := sortOut(list)
	rows, err := tx.Query(ctx, receiveSQL, receiveArgs(list, arrivals, order)...)
	if err != nil {
		return nil, fmt.Errorf("receive messages: %w", err)
	}
	var key messageKey
	var repeats int
	_, err = pgx.ForEachRow(rows, []any{&key.org, &key.source, &key.id, &repeats}, func() error {
		// A new row has fewer repeats than the list has copies, an old one at least as many.
		if a := arrivals[key]; repeats < a.copies {
			first[a.index] = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("receive messages: %w", err)
	}
	return first, nil
}

// sortOut joins the copies of a message within a list: one statement can write a row only once.
func sortOut(list []Message) (map[messageKey]*arrival, []messageKey) {
	arrivals, order := make(map[messageKey]*arrival, len(list)), make([]messageKey, 0, len(list))
	for i, m := range list {
		key := messageKey{m.OrgID, m.Source, m.ID}
		a := arrivals[key]
		if a == nil {
			a = &arrival{index: i}
			arrivals[key] = a
			order = append(order, key)
		}
		a.copies++
		if m.Hash != list[a.index].Hash {
			a.mismatches++
		}
	}
	return arrivals, order
}

func receiveArgs(list []Message, arrivals map[messageKey]*arrival, order []messageKey) []any {
	n := len(order)
	orgs, subjects := make([]ids.ID, n), make([]*ids.ID, n)
	sources, messageIDs, types := make([]string, n), make([]string, n), make([]string, n)
	hashes, occurred := make([][]byte, n), make([]time.Time, n)
	copies, mismatches := make([]int32, n), make([]int32, n)
	for i, key := range order {
		a := arrivals[key]
		m := &list[a.index]
		orgs[i], sources[i], messageIDs[i], types[i] = m.OrgID, m.Source, m.ID, m.Type
		if !m.SubjectID.IsZero() {
			subjects[i] = &m.SubjectID
		}
		hashes[i], occurred[i] = m.Hash[:], m.OccurredAt
		copies[i], mismatches[i] = int32(a.copies), int32(a.mismatches)
	}
	return []any{orgs, sources, messageIDs, types, subjects, hashes, occurred, copies, mismatches}
}
