package ledger

import (
	"context"
	"fmt"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Post carries out entries in their order and returns one Result each. An entry that fails has no effect and does
// not disturb the others; the error is for the transaction as a whole. What it writes is sent with the transaction's next
// statement, or with COMMIT. At most EntriesMax entries a call.
func (l *Ledger) Post(ctx context.Context, tx postgres.Tx, entries []Entry) ([]Result, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	if len(entries) > EntriesMax {
		return nil, ErrEntryCount
	}
	results := make([]Result, len(entries))
	for i := range entries {
		results[i].Err = entries[i].validate()
	}
	w := collect(entries, results)
	b, err := l.load(ctx, tx, w)
	if err != nil {
		return nil, fmt.Errorf("load the accounts of a batch: %w", err)
	}
	done, refused := b.applyAll(entries, results)
	if refused && b.guessed() { // on a guess nobody is refused
		if b, err = l.look(ctx, tx, w, b.visit); err != nil {
			return nil, fmt.Errorf("lock the accounts of a batch: %w", err)
		}
		done, _ = b.applyAll(entries, results)
	}
	return done, l.write(ctx, tx, b)
}

// applyAll applies the entries against which nothing was said, and tells whether it refused one.
func (b *book) applyAll(entries []Entry, checked []Result) (results []Result, refused bool) {
	results = make([]Result, len(entries))
	for i := range entries {
		if results[i] = checked[i]; results[i].Err == nil {
			results[i] = b.apply(&entries[i])
			refused = refused || results[i].Err != nil
		}
	}
	return results, refused
}

// Preview tells what Post would do, and does nothing.
func (l *Ledger) Preview(ctx context.Context, entries []Entry) ([]Result, error) {
	var results []Result
	err := l.db.DryRun(ctx, func(ctx context.Context, tx postgres.Tx) error {
		var err error
		results, err = l.Post(ctx, tx, entries)
		return err
	})
	return results, err
}

// wanted is what a batch of entries needs to be loaded: each thing once.
type wanted struct {
	entries                                int
	accountOrgs, targetOrgs, referenceOrgs []ids.ID
	codes, references                      []string
	targets                                []ids.ID
}

func collect(entries []Entry, results []Result) wanted {
	w := wanted{entries: len(entries)}
	accounts := make(map[accountKey]struct{}, 2*len(entries))
	targets := map[entryKey]struct{}{}
	account := func(org ids.ID, code string) {
		k := accountKey{org, code}
		if _, seen := accounts[k]; !seen {
			accounts[k] = struct{}{}
			w.accountOrgs, w.codes = append(w.accountOrgs, org), append(w.codes, code)
		}
	}
	for i := range entries {
		e := &entries[i]
		if results[i].Err != nil {
			continue
		}
		for _, p := range e.Postings {
			account(e.OrgID, p.Debit)
			account(e.OrgID, p.Credit)
		}
		if k := (entryKey{e.OrgID, e.Target}); !e.Target.IsZero() {
			if _, seen := targets[k]; !seen {
				targets[k] = struct{}{}
				w.targetOrgs, w.targets = append(w.targetOrgs, e.OrgID), append(w.targets, e.Target)
			}
		}
		if e.Reference != "" {
			w.referenceOrgs, w.references = append(w.referenceOrgs, e.OrgID), append(w.references, e.Reference)
		}
	}
	return w
}
