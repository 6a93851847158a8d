package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// accountsMax is over how many accounts transfers are spread.
const accountsMax = 10_000

// raw is the limit: what PostgreSQL does for one writer that only wants rows and balances, at its best. No code of
// Kontor's, one round trip a transaction, parameters written as the server wants them.
type raw struct {
	conn *pgconn.PgConn
	rng  *rand.Rand
	tick uint64
}

const rawSchemaSQL = `
	create table account (
		id      uuid   not null primary key,
		debits  bigint not null default 0,
		credits bigint not null default 0
	) with (fillfactor = 50);
	create table transfer (
		id         uuid        not null primary key,
		debit_id   uuid        not null,
		credit_id  uuid        not null,
		amount     bigint      not null,
		created_at timestamptz not null default now()
	)`

const rawIndexesSQL = `
	create index transfer_debit_idx on transfer (debit_id, created_at);
	create index transfer_credit_idx on transfer (credit_id, created_at)`

const rawAccountsSQL = `
	insert into account (id)
	select lpad(to_hex(n), 32, '0')::uuid
	from generate_series(0, $1::integer - 1) as n`

const rawInsertSQL = `
	insert into transfer (id, debit_id, credit_id, amount)
	select t.id, t.debit_id, t.credit_id, t.amount
	from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[]) as t (id, debit_id, credit_id, amount)`

const rawUpdateSQL = `
	update account a set debits = a.debits + d.debits, credits = a.credits + d.credits
	from unnest($1::uuid[], $2::bigint[], $3::bigint[]) as d (id, debits, credits)
	where a.id = d.id`

// rawSessionSQL holds the planner to index probes, as Kontor's sessions do.
const rawSessionSQL = `
	set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set jit = off`

// makeRaw makes the tables and accounts of the given schema.
func makeRaw(ctx context.Context, url string, schema ...string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("reach the raw database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, sql := range schema {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("make the raw tables: %w", err)
		}
	}
	if _, err := conn.Exec(ctx, rawAccountsSQL, accountsMax); err != nil {
		return fmt.Errorf("make the raw accounts: %w", err)
	}
	return nil
}

// openRaw connects a writer and prepares its statements. One goroutine at a time may use it.
func openRaw(ctx context.Context, url string) (*raw, error) {
	conn, err := pgconn.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("reach the raw database: %w", err)
	}
	r := &raw{conn: conn, rng: rand.New(rand.NewPCG(1, rand.Uint64()))}
	if _, err := r.conn.Exec(ctx, rawSessionSQL).ReadAll(); err != nil {
		return nil, fmt.Errorf("set the raw session up: %w", err)
	}
	for name, sql := range map[string]string{"insert": rawInsertSQL, "update": rawUpdateSQL} {
		if _, err := r.conn.Prepare(ctx, name, sql, nil); err != nil {
			return nil, fmt.Errorf("prepare the raw %s: %w", name, err)
		}
	}
	return r, nil
}

func (r *raw) close(ctx context.Context) { _ = r.conn.Close(ctx) }

// movement is what a batch does to one account.
type movement struct{ debits, credits int64 }

// transact makes n transfers between any two accounts in one transaction.
func (r *raw) transact(ctx context.Context, n int) error {
	list := make([]transfer, n)
	for i := range list {
		list[i].debit, list[i].credit = twoAccounts(r.rng)
		list[i].amount = 1 + r.rng.Int64N(10_000)
	}
	return r.write(ctx, list)
}

// transfer is one of a batch; its accounts are numbers below accountsMax.
type transfer struct {
	debit, credit int
	amount        int64
}

// write makes transfers in one transaction. It updates each account once, in the order of their ids, so that two
// writers cannot block each other.
func (r *raw) write(ctx context.Context, transfers []transfer) error {
	n := len(transfers)
	moved := make(map[int]movement, 2*n)
	list, debits, credits, amounts := newUUIDs(n), newUUIDs(n), newUUIDs(n), newBigints(n)
	for _, t := range transfers {
		list.add(r.id())
		debits.add(accountID(t.debit))
		credits.add(accountID(t.credit))
		amounts.add(t.amount)
		m := moved[t.debit]
		m.debits += t.amount
		moved[t.debit] = m
		m = moved[t.credit]
		m.credits += t.amount
		moved[t.credit] = m
	}
	accounts, down, up := newUUIDs(len(moved)), newBigints(len(moved)), newBigints(len(moved))
	for _, account := range slices.Sorted(maps.Keys(moved)) {
		accounts.add(accountID(account))
		down.add(moved[account].debits)
		up.add(moved[account].credits)
	}
	batch := &pgconn.Batch{} // without a BEGIN, the statements of one batch are one transaction
	binaryForm := []int16{1}
	batch.ExecPrepared("insert", [][]byte{list.bytes, debits.bytes, credits.bytes, amounts.bytes}, binaryForm, nil)
	batch.ExecPrepared("update", [][]byte{accounts.bytes, down.bytes, up.bytes}, binaryForm, nil)
	_, err := r.conn.ExecBatch(ctx, batch).ReadAll()
	return err
}

// id is a UUIDv7: the keys of a batch lie side by side in the index, as Kontor's do.
func (r *raw) id() [16]byte {
	r.tick = max(r.tick+1, uint64(time.Now().UnixMilli())<<12)
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], r.tick>>12<<16|0x7000|r.tick&0xfff)
	binary.BigEndian.PutUint64(id[8:], 1<<63|r.rng.Uint64()>>2)
	return id
}

func accountID(number int) [16]byte {
	var id [16]byte
	binary.BigEndian.PutUint64(id[8:], uint64(number))
	return id
}

// twoAccounts chooses two different ones.
func twoAccounts(rng *rand.Rand) (debit, credit int) {
	debit, credit = rng.IntN(accountsMax), rng.IntN(accountsMax-1)
	if credit >= debit {
		credit++
	}
	return debit, credit
}

// array is an array of one dimension in PostgreSQL's binary form.
type array struct{ bytes []byte }

func newArray(oid uint32, width, n int) array {
	a := array{make([]byte, 0, 20+n*(4+width))}
	for _, word := range [...]uint32{1, 0, oid, uint32(n), 1} { // dimensions, nulls, type, length, lower bound
		a.bytes = binary.BigEndian.AppendUint32(a.bytes, word)
	}
	return a
}

type (
	uuids   struct{ array }
	bigints struct{ array }
)

func newUUIDs(n int) uuids     { return uuids{newArray(pgtype.UUIDOID, 16, n)} }
func newBigints(n int) bigints { return bigints{newArray(pgtype.Int8OID, 8, n)} }

func (a *uuids) add(id [16]byte) {
	a.bytes = binary.BigEndian.AppendUint32(a.bytes, 16)
	a.bytes = append(a.bytes, id[:]...)
}

func (a *bigints) add(n int64) {
	a.bytes = binary.BigEndian.AppendUint32(a.bytes, 8)
	a.bytes = binary.BigEndian.AppendUint64(a.bytes, uint64(n))
}
