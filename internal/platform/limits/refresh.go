package limits

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// questionsMax bounds the keys of one refresh.
const questionsMax = 256

// refresh asks the database about keys, in one transaction, and takes over what it says.
func (l *Limits) refresh(ctx context.Context, keys []*key) error {
	began := l.now()
	questions := l.ask(keys, began.mono)
	answers, err := l.exchange(ctx, questions)
	result := refreshDone
	if err != nil {
		result = refreshFailed
	}
	now := l.now()
	l.metrics.refresh.WithLabelValues(result).Observe(began.mono.until(now.mono).Seconds())
	l.settle(questions, answers, err, now)
	return err
}

// settle takes over the answers, or that nobody knows them.
func (l *Limits) settle(questions []question, answers []answer, err error, now instant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	freed := false
	for i, q := range questions {
		if err != nil {
			if len(answers) > 0 {
				q.key.restrict(answers[i])
			}
			q.key.unsettled(now.mono, l.cfg)
			q.key.known = q.key.known && !errors.Is(err, errKeyGone)
			continue
		}
		freed = q.key.settle(answers[i], now, l.cfg) || freed
	}
	if freed {
		wake(l.freed)
	}
}

func (l *Limits) ask(keys []*key, now moment) []question {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]question, len(keys))
	for i, k := range keys {
		out[i] = k.ask(now, l.stopped, l.cfg)
	}
	return out
}

// exchange runs the transaction.
func (l *Limits) exchange(ctx context.Context, questions []question) ([]answer, error) {
	if err := l.insertKeys(ctx, questions); err != nil {
		return nil, err
	}
	orgs, names := make([]ids.ID, len(questions)), make([]string, len(questions))
	for i, q := range questions {
		orgs[i], names[i] = q.name.OrgID, q.name.Name
	}
	var answers []answer
	err := l.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		sent := l.now()
		records, err := lock(ctx, tx, orgs, names)
		if err != nil {
			return err
		}
		var c changes
		before := answers
		if answers, c, err = l.judge(questions, records, sent); err != nil {
			return err
		}
		strictest(answers, before)
		return c.write(ctx, tx, l.holder, l.cfg.Node)
	})
	return answers, err
}

// judge decides about all questions, of which the database was asked at some instant.
func (l *Limits) judge(questions []question, records []record, sent instant) ([]answer, changes, error) {
	var c changes
	answers := make([]answer, len(questions))
	for i, q := range questions {
		if !records[i].found {
			return nil, changes{}, errKeyGone // its row is made anew next time
		}
		answers[i] = answerTo(q, records[i], l.holder)
		answers[i].leasedUntil = sent.plus(l.cfg.trusted())
		c.record(q, records[i], answers[i], l.holder, sent.mono, l.cfg.Lease)
	}
	return answers, c, nil
}

// strictest keeps the lower caps of two runs of the transaction: it may be the earlier that was committed.
func strictest(answers, before []answer) {
	for i := range before {
		for _, v := range before[i].verdicts {
			for j := range answers[i].verdicts {
				if one := &answers[i].verdicts[j]; one.period == v.period {
					one.cap = min(one.cap, v.cap)
				}
			}
		}
	}
}

// errKeyGone says that a key was swept while this node thought it known.
var errKeyGone = errors.New("a limit is not in the database any more")

// insertKeys makes the rows of keys that the database may not know.
func (l *Limits) insertKeys(ctx context.Context, questions []question) error {
	var c changes
	for _, q := range questions {
		if !q.known {
			c.key(q.name, q.version, q.windows, time.Time{})
		}
	}
	k := c.keys
	if len(k.orgs) == 0 {
		return nil
	}
	if _, err := l.db.Pool().Exec(ctx, insertKeysSQL, k.orgs, k.names, k.versions, k.periods, k.limits); err != nil {
		return fmt.Errorf("make limits known: %w", err)
	}
	return nil
}

// answerTo decides about all windows of a key, as they are in the newest definition that is known.
func answerTo(q question, r record, me ids.ID) answer {
	a := answer{version: r.version, windows: r.windows, at: r.at}
	if q.version > r.version {
		a.version, a.windows = q.version, q.windows
	}
	for _, w := range a.windows {
		a.verdicts = append(a.verdicts, decide(me, q.turn, q.wishFor(w.Period), r.standing(w)))
	}
	return a
}
