package ledger

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Rows are locked in id order: entries first, then accounts. Two batches can then wait for each other in one direction only.
// Ids are unique by themselves. Sorted by the organisation first, which is the same for most, a batch took twice as long to
// lock: PostgreSQL then compares whole values where it else compares the first eight bytes of an id.

// hot
const lockTargetsSQL = `
	select e.org_id, e.id, e.state, e.code, e.reference, e.reversal_of, e.subject_id, e.effective_at, e.recorded_at,
		e.expires_at, e.metadata,
		exists (select from ledger_entry r where r.org_id = e.org_id and r.reversal_of = e.id) as reversed
	from unnest($1::uuid[], $2::uuid[]) as t (org_id, id)
	join ledger_entry e on e.org_id = t.org_id and e.id = t.id
	order by e.id
	for no key update of e`

// hot
const findReferencesSQL = `
	select e.org_id, e.id, e.state, e.code, e.reference, e.reversal_of, e.subject_id, e.effective_at, e.recorded_at,
		e.expires_at, e.metadata, false as reversed
	from unnest($1::uuid[], $2::text[]) as t (org_id, reference)
	join ledger_entry e on e.org_id = t.org_id and e.reference = t.reference`

// hot
const targetLinesSQL = `
	with target as (
		select t.org_id, t.id from unnest($1::uuid[], $2::uuid[]) as t (org_id, id)
		union
		select e.org_id, e.id
		from unnest($3::uuid[], $4::text[]) as r (org_id, reference)
		join ledger_entry e on e.org_id = r.org_id and e.reference = r.reference
	)
	select p.org_id, p.entry_id, p.number, p.origin, p.phase, p.amount, p.recorded_at, p.debit_account_id, p.credit_account_id
	from target t
	join ledger_posting p on p.org_id = t.org_id and p.entry_id = t.id
	order by p.entry_id, p.number`

// hot
const lockAccountsSQL = `
	select a.org_id, a.id, a.code, a.type, a.asset, a.scale, a.available_min, a.available_max,
		a.debits_posted, a.credits_posted, a.debits_pending, a.credits_pending, a.version, a.recorded_at, a.ctid
	from unnest($1::uuid[], $2::text[]) as k (org_id, code)
	join ledger_account a on a.org_id = k.org_id and a.code = k.code
	order by a.id
	for no key update of a`

// hot
const lockTargetAccountsSQL = `
	with target as (
		select t.org_id, t.id from unnest($3::uuid[], $4::uuid[]) as t (org_id, id)
		union
		select e.org_id, e.id
		from unnest($5::uuid[], $6::text[]) as r (org_id, reference)
		join ledger_entry e on e.org_id = r.org_id and e.reference = r.reference
	), account as (
		select a.org_id, a.id
		from unnest($1::uuid[], $2::text[]) as k (org_id, code)
		join ledger_account a on a.org_id = k.org_id and a.code = k.code
		union
		select p.org_id, side.account_id
		from target t
		join ledger_posting p on p.org_id = t.org_id and p.entry_id = t.id
		cross join lateral (values (p.debit_account_id), (p.credit_account_id)) as side (account_id)
	)
	select a.org_id, a.id, a.code, a.type, a.asset, a.scale, a.available_min, a.available_max,
		a.debits_posted, a.credits_posted, a.debits_pending, a.credits_pending, a.version, a.recorded_at, a.ctid
	from account k
	join ledger_account a on a.org_id = k.org_id and a.id = k.id
	order by a.id
	for no key update of a`

// load gets what the entries need: from the memory where that will do, else from the database.
func (l *Ledger) load(ctx context.Context, tx postgres.Tx, w wanted) (*book, error) {
	v := l.memory.begin(tx, w.accountOrgs, w.codes)
	if v == nil || !v.guessed || len(w.targets)+len(w.references) > 0 {
		return l.look(ctx, tx, w, v)
	}
	b := l.open(w, v)
	return b, v.guess(ctx, tx, b)
}

// look locks what the entries need and reads it, in one round trip.
func (l *Ledger) look(ctx context.Context, tx postgres.Tx, w wanted, v *visit) (*book, error) {
	b := l.open(w, v)
	err := b.lock(ctx, tx, w)
	if v != nil {
		v.guessed = false
		if err == nil {
			v.loaded(b)
		}
	}
	return b, err
}

// open makes an empty book.
func (l *Ledger) open(w wanted, v *visit) *book {
	return &book{
		newID: l.ids.New, visit: v,
		byCode:  make(map[accountKey]*accountState, len(w.codes)),
		byID:    make(map[entryKey]*accountState, len(w.codes)),
		targets: map[entryKey]*targetState{}, references: map[referenceKey]*targetState{},
		entries: make([]*targetState, 0, w.entries), postings: make([]postingRow, 0, w.entries),
	}
}

// lock locks and reads.
func (b *book) lock(ctx context.Context, tx postgres.Tx, w wanted) error {
	var lines []storedLine
	batch := &pgx.Batch{}
	if len(w.targets)+len(w.references) == 0 {
		batch.Queue(lockAccountsSQL, w.accountOrgs, w.codes).Query(b.readAccounts)
	} else {
		batch.Queue(lockTargetsSQL, w.targetOrgs, w.targets).Query(b.readTargets)
		batch.Queue(findReferencesSQL, w.referenceOrgs, w.references).Query(b.readTargets)
		batch.Queue(targetLinesSQL, w.targetOrgs, w.targets, w.referenceOrgs, w.references).Query(func(rows pgx.Rows) error {
			var err error
			lines, err = pgx.CollectRows(rows, pgx.RowToStructByPos[storedLine])
			return err
		})
		batch.Queue(lockTargetAccountsSQL, w.accountOrgs, w.codes, w.targetOrgs, w.targets, w.referenceOrgs, w.references).Query(b.readAccounts)
	}
	var lockedAt time.Time
	postgres.QueueNow(batch, &lockedAt) // every lock is held by then, so time rises along every account's chain
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	b.attach(lines)
	b.begin(lockedAt)
	return nil
}

// accountState is an account at work.
type accountState struct {
	Account
	place  pgtype.TID // where the locked row lies: nobody can move it before the transaction ends
	loaded int64      // the version it was found at, of which RecordedAt is too
	dirty  bool
}

// know adds an account.
func (b *book) know(k accountKey, a *accountState) {
	b.byCode[k], b.byID[entryKey{a.OrgID, a.ID}] = a, a
}

// begin sets the time of everything that the book will do.
func (b *book) begin(now time.Time) {
	b.now = now
	for _, a := range b.byCode {
		if a.RecordedAt.After(b.now) { // the clock of the database went back: time on an account does not
			b.now = a.RecordedAt.UTC()
		}
	}
}

func (b *book) readAccounts(rows pgx.Rows) error {
	var a Account
	var place pgtype.TID
	scan := []any{
		&a.OrgID, &a.ID, &a.Code, &a.Type, &a.Asset, &a.Scale, &a.AvailableMin, &a.AvailableMax,
		&a.Balance.DebitsPosted, &a.Balance.CreditsPosted, &a.Balance.DebitsPending, &a.Balance.CreditsPending, &a.Version, &a.RecordedAt,
		&place,
	}
	_, err := pgx.ForEachRow(rows, scan, func() error {
		b.know(accountKey{a.OrgID, a.Code}, &accountState{Account: a, place: place, loaded: a.Version})
		a.AvailableMin, a.AvailableMax = nil, nil
		return nil
	})
	return err
}

func (b *book) readTargets(rows pgx.Rows) error {
	entries, err := pgx.CollectRows(rows, scanEntry)
	if err != nil {
		return err
	}
	for i := range entries {
		t := &targetState{Recorded: entries[i].recorded(), reversed: entries[i].Reversed}
		k := entryKey{t.OrgID, t.ID}
		if known := b.targets[k]; known != nil {
			t = known
		}
		b.targets[k] = t
		if t.Reference != "" {
			b.references[referenceKey{t.OrgID, t.Reference}] = t
		}
	}
	return nil
}

// attach gives the loaded entries their lines.
func (b *book) attach(lines []storedLine) {
	for _, s := range lines {
		t := b.targets[entryKey{s.OrgID, s.EntryID}]
		if t == nil {
			continue // written between two statements of the load: its entry was not seen, so neither are its lines
		}
		t.lines = append(t.lines, line{
			number: s.Number, origin: s.Origin, phase: s.Phase, amount: s.Amount, recordedAt: s.RecordedAt.UTC(),
			debit: b.byID[entryKey{s.OrgID, s.DebitAccountID}], credit: b.byID[entryKey{s.OrgID, s.CreditAccountID}],
		})
	}
}

type storedLine struct {
	OrgID, EntryID                  ids.ID
	Number, Origin                  int
	Phase                           Phase
	Amount                          int64
	RecordedAt                      time.Time
	DebitAccountID, CreditAccountID ids.ID
}

// storedEntry is a row of ledger_entry, nullable columns and all.
type storedEntry struct {
	OrgID, ID             ids.ID
	State                 State
	Code                  string
	Reference             *string
	ReversalOf, SubjectID *ids.ID
	EffectiveAt           *time.Time
	RecordedAt            time.Time
	ExpiresAt             *time.Time
	Metadata              []byte
	Reversed              bool
}

func scanEntry(row pgx.CollectableRow) (storedEntry, error) {
	return pgx.RowToStructByPos[storedEntry](row)
}

func (s storedEntry) recorded() Recorded {
	r := Recorded{OrgID: s.OrgID, ID: s.ID, State: s.State, Code: s.Code, RecordedAt: s.RecordedAt.UTC(), Metadata: s.Metadata}
	if s.Reference != nil {
		r.Reference = *s.Reference
	}
	if s.ReversalOf != nil {
		r.ReversalOf = *s.ReversalOf
	}
	if s.SubjectID != nil {
		r.SubjectID = *s.SubjectID
	}
	if s.EffectiveAt != nil {
		r.EffectiveAt = s.EffectiveAt.UTC()
	}
	if s.ExpiresAt != nil {
		r.ExpiresAt = s.ExpiresAt.UTC()
	}
	return r
}
