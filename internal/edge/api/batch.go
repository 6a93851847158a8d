package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/command"
)

// batchRefusal is the cause of batch_rejected: the fault of each refused entry, in the order of the fault's Params.
type batchRefusal struct{ faults []*fault.Fault }

// Error implements error.
func (b batchRefusal) Error() string { return fmt.Sprintf("%d entries were refused", len(b.faults)) }

// CreateEntryBatch answers POST /v1/ledger/entries/batch. A batch is its own transaction: it has enough entries to be
// worth one.
func (s *Server) CreateEntryBatch(ctx context.Context, r CreateEntryBatchRequestObject) (CreateEntryBatchResponseObject, error) {
	c := callOf(ctx)
	list := make([]ledger.Entry, len(r.Body.Entries))
	for i, entry := range r.Body.Entries {
		list[i] = newEntry(c.principal.OrgID, entry)
	}
	if isTrue(r.Body.DryRun) {
		results, err := s.deps.Ledger.Preview(ctx, list)
		if err != nil {
			return nil, err
		}
		outcome := batchOutcome(r.Body.Mode, list, results)
		return reply{answer: outcome.Answer}, outcome.Err
	}
	answer, err := s.runner.Once(ctx, c.meta(), func(ctx context.Context, tx postgres.Tx) command.Outcome {
		results, err := s.deps.Ledger.Post(ctx, tx, list)
		if err != nil {
			return command.Outcome{Err: err}
		}
		return batchOutcome(r.Body.Mode, list, results)
	})
	if err != nil {
		return nil, err
	}
	return reply{answer: answer}, nil
}

// batchOutcome writes a result for each entry; of an atomic batch, one refused entry makes it an error.
func batchOutcome(mode BatchMode, list []ledger.Entry, results []ledger.Result) command.Outcome {
	var refusal batchRefusal
	var found []fault.Problem
	recorded := 0
	body := append([]byte(`{"mode":"`+string(mode)+`","results":[`), make([]byte, 0, 1024*len(list))...)
	for i := range results {
		if i > 0 {
			body = append(body, ',')
		}
		f := appendResult(&body, i, &list[i], &results[i])
		switch {
		case f == nil && results[i].Err == nil:
			recorded++
		case f != nil:
			refusal.faults = append(refusal.faults, f)
			found = append(found, fault.Problem{Param: "/entries/" + strconv.Itoa(i) + f.Param, Detail: f.Detail})
		}
	}
	if mode == BatchModeAtomic && len(found) > 0 {
		f := fault.New(fault.Conflict, "batch_rejected", "%d of %d entries were refused, so none was recorded; the first: %s",
			len(found), len(list), found[0].Detail)
		f.Params = found
		return command.Outcome{Err: f.Because(refusal)}
	}
	body = appendInt(append(body, ']'), `,"recorded":`, int64(recorded))
	body = append(appendInt(body, `,"refused":`, int64(len(found))), '}')
	return command.Outcome{Answer: command.Answer{Status: http.StatusOK, Body: body}}
}

// appendResult writes what became of one entry, and returns its fault when it was refused.
func appendResult(out *[]byte, i int, asked *ledger.Entry, r *ledger.Result) *fault.Fault {
	body := appendInt(*out, `{"index":`, int64(i))
	defer func() { *out = append(body, '}') }()
	body = append(body, `,"result":"`...)
	if r.Err == nil || errors.Is(r.Err, ledger.ErrExists) {
		if r.Err == nil {
			body = append(body, `created","entry":`...)
		} else {
			body = append(body, `exists","entry":`...)
		}
		outcome := entryOutcome(asked, r)
		body = append(body, outcome.Answer.Body...)
		return nil
	}
	f := faultOf(inBody(r.Err))
	body = append(append(body, f.Code...), `","detail":`...)
	body = appendText(body, []byte(f.Detail))
	if f.Param != "" {
		body = appendText(append(body, `,"param":`...), []byte("/entries/"+strconv.Itoa(i)+f.Param))
	}
	return f
}
