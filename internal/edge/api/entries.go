package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/command"
)

const entriesPath = "/v1/ledger/entries/"

// postEntries is the body of the lane: everything that is done to entries, in the order in which it came.
func (s *Server) postEntries(ctx context.Context, tx postgres.Tx, items []command.Item[ledger.Entry]) ([]command.Outcome, error) {
	list := make([]ledger.Entry, len(items))
	for i := range items {
		list[i] = items[i].In
	}
	results, err := s.deps.Ledger.Post(ctx, tx, list)
	if err != nil {
		return nil, err
	}
	outcomes := make([]command.Outcome, len(items))
	for i := range results {
		outcomes[i] = entryOutcome(&list[i], &results[i])
	}
	return outcomes, nil
}

// entryOutcome makes a result an answer.
func entryOutcome(asked *ledger.Entry, r *ledger.Result) command.Outcome {
	status := http.StatusCreated
	switch {
	case errors.Is(r.Err, ledger.ErrExists):
		status = http.StatusOK
	case r.Err != nil:
		return command.Outcome{Err: inBody(r.Err)}
	case asked.Action == ledger.ActionSettle || asked.Action == ledger.ActionRelease:
		status = http.StatusOK
	}
	return command.Outcome{Answer: command.Answer{Status: status, SubjectID: r.Entry.ID, Body: entryBody(r)}}
}

func entryBody(r *ledger.Result) []byte {
	balances := r.Balances
	if balances == nil {
		balances = []ledger.AccountBalance{}
	}
	return appendEntry(make([]byte, 0, 512+256*len(balances)+128*len(r.Entry.Postings)), &r.Entry, balances)
}

// inBody makes a module's fields places in the body.
func inBody(err error) error {
	f, isFault := errors.AsType[*fault.Fault](err)
	if !isFault || f.Param == "" || f.Param[0] == '/' {
		return err
	}
	placed := *f.At("/" + f.Param)
	placed.Params = slices.Clone(f.Params)
	for i := range placed.Params {
		if p := &placed.Params[i]; p.Param != "" && p.Param[0] != '/' {
			p.Param = "/" + p.Param
		}
	}
	return &placed
}

// CreateEntry answers POST /v1/ledger/entries.
func (s *Server) CreateEntry(ctx context.Context, r CreateEntryRequestObject) (CreateEntryResponseObject, error) {
	b := r.Body
	entry := newEntry(callOf(ctx).principal.OrgID, BatchEntry{
		Code: b.Code, Postings: b.Postings, Pending: b.Pending, ExpiresAt: b.ExpiresAt, EffectiveAt: b.EffectiveAt,
		Reference: b.Reference, Metadata: b.Metadata,
	})
	if isTrue(b.DryRun) {
		return s.previewEntry(ctx, entry)
	}
	answer, err := s.entries.Do(ctx, callOf(ctx).meta(), entry)
	if err != nil {
		return nil, err
	}
	return created(answer), nil
}

// created adds the place of a new entry to its answer.
func created(a command.Answer) reply {
	r := reply{answer: a}
	if a.Status == http.StatusCreated && !a.SubjectID.IsZero() {
		r.location = entriesPath + ids.Format(ledger.EntryPrefix, a.SubjectID)
	}
	return r
}

func (s *Server) previewEntry(ctx context.Context, entry ledger.Entry) (CreateEntryResponseObject, error) {
	results, err := s.deps.Ledger.Preview(ctx, []ledger.Entry{entry})
	if err != nil {
		return nil, err
	}
	outcome := entryOutcome(&entry, &results[0])
	if outcome.Err != nil {
		return nil, outcome.Err
	}
	return ok(outcome.Answer.Body), nil
}

// PostEntry answers POST /v1/ledger/entries/{entry_id}/post.
func (s *Server) PostEntry(ctx context.Context, r PostEntryRequestObject) (PostEntryResponseObject, error) {
	entry := ledger.Entry{Action: ledger.ActionSettle, Keep: isTrue(r.Body.KeepPending)}
	switch {
	case r.Body.Amount != nil && r.Body.Amounts != nil:
		return nil, ledger.ErrAmountCount.At("/amount")
	case r.Body.Amount != nil:
		entry.Amounts = []int64{*r.Body.Amount}
	case r.Body.Amounts != nil:
		entry.Amounts = *r.Body.Amounts
	}
	return s.changeEntry(ctx, r.EntryID, entry)
}

// VoidEntry answers POST /v1/ledger/entries/{entry_id}/void.
func (s *Server) VoidEntry(ctx context.Context, r VoidEntryRequestObject) (VoidEntryResponseObject, error) {
	return s.changeEntry(ctx, r.EntryID, ledger.Entry{Action: ledger.ActionRelease})
}

// ReverseEntry answers POST /v1/ledger/entries/{entry_id}/reverse.
func (s *Server) ReverseEntry(ctx context.Context, r ReverseEntryRequestObject) (ReverseEntryResponseObject, error) {
	return s.changeEntry(ctx, r.EntryID, ledger.Entry{
		Action: ledger.ActionReverse, Code: valueOf(r.Body.Code), Reference: valueOf(r.Body.Reference),
		EffectiveAt: moment(r.Body.EffectiveAt), Metadata: metadataOf(r.Body.Metadata),
	})
}

// changeEntry does something to the entry that the path names.
func (s *Server) changeEntry(ctx context.Context, shown string, entry ledger.Entry) (reply, error) {
	id, err := ids.Parse(ledger.EntryPrefix, shown)
	if err != nil {
		return reply{}, ledger.ErrEntryNotFound
	}
	c := callOf(ctx)
	entry.OrgID, entry.Target = c.principal.OrgID, id
	answer, err := s.entries.Do(ctx, c.meta(), entry)
	if err != nil {
		return reply{}, err
	}
	return created(answer), nil
}

// GetEntry answers GET /v1/ledger/entries/{entry_id}.
func (s *Server) GetEntry(ctx context.Context, r GetEntryRequestObject) (GetEntryResponseObject, error) {
	id, err := ids.Parse(ledger.EntryPrefix, r.EntryID)
	if err != nil {
		return nil, ledger.ErrEntryNotFound
	}
	entry, err := s.deps.Ledger.Entry(ctx, callOf(ctx).principal.OrgID, id)
	if err != nil {
		return nil, err
	}
	return ok(appendEntry(nil, &entry, nil)), nil
}

// ListEntries answers GET /v1/ledger/entries.
func (s *Server) ListEntries(ctx context.Context, r ListEntriesRequestObject) (ListEntriesResponseObject, error) {
	p := r.Params
	after, limit, err := position(listOfEntries, p.Cursor, p.Limit)
	if err != nil {
		return nil, err
	}
	list, next, err := s.deps.Ledger.ListEntries(ctx, callOf(ctx).principal.OrgID, ledger.EntryFilter{
		Account: valueOf(p.Account), State: ledger.State(valueOf(p.State)), Reference: valueOf(p.Reference),
		RecordedFrom: moment(p.RecordedFrom), RecordedTo: moment(p.RecordedTo),
	}, after, limit)
	if err != nil {
		return nil, err
	}
	return page(len(list), func(out []byte, i int) []byte { return appendEntry(out, &list[i], nil) }, next, listOfEntries), nil
}

// newEntry reads a new entry from a request.
func newEntry(org ids.ID, b BatchEntry) ledger.Entry {
	e := ledger.Entry{
		OrgID: org, Code: b.Code, Reference: valueOf(b.Reference), EffectiveAt: moment(b.EffectiveAt), ExpiresAt: moment(b.ExpiresAt),
		Metadata: metadataOf(b.Metadata), Postings: make([]ledger.Posting, len(b.Postings)),
	}
	if isTrue(b.Pending) {
		e.Action = ledger.ActionHold
	}
	for i, p := range b.Postings {
		e.Postings[i] = ledger.Posting{Debit: p.DebitAccount, Credit: p.CreditAccount, Amount: p.Amount}
	}
	return e
}

func isTrue(b *bool) bool { return b != nil && *b }

func valueOf[T any](p *T) T {
	var none T
	if p == nil {
		return none
	}
	return *p
}

// moment cuts a time to what PostgreSQL keeps, so that a repeat compares equal to what was stored.
func moment(p *time.Time) time.Time {
	if p == nil {
		return time.Time{}
	}
	return p.UTC().Truncate(time.Microsecond)
}

func metadataOf(m *Metadata) []byte {
	if m == nil {
		return nil
	}
	raw, err := json.Marshal(*m)
	if err != nil { // a map of strings: it cannot
		panic(err)
	}
	return raw
}
