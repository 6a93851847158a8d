package ledger

import "time"

// origins are the entry's own lines, without those that settled or released them.
func (t *targetState) origins() []line {
	n := 0
	for n < len(t.lines) && t.lines[n].origin == t.lines[n].number {
		n++
	}
	return t.lines[:n]
}

// remaining is what each of a pending entry's own lines still holds.
func (t *targetState) remaining() []int64 {
	left := make([]int64, len(t.origins()))
	for _, l := range t.lines {
		switch l.phase {
		case PhasePending:
			left[l.origin] += l.amount
		case PhaseSettled, PhaseReleased:
			left[l.origin] -= l.amount
		}
	}
	return left
}

// posted is what of each of an entry's own lines was posted, at once or by settling.
func (t *targetState) posted() []int64 {
	sums := make([]int64, len(t.origins()))
	for _, l := range t.lines {
		if l.phase == PhasePosted || l.phase == PhaseSettled {
			sums[l.origin] += l.amount
		}
	}
	return sums
}

// next is a line that acts on one of the entry's own lines.
func (t *targetState) next(origin line, phase Phase, amount int64, effectiveAt time.Time) line {
	return line{
		number: len(t.lines), origin: origin.number, phase: phase, amount: amount,
		debit: origin.debit, credit: origin.credit, effectiveAt: effectiveAt,
	}
}

// closedAs is the state of an entry of which nothing is held any more.
func (t *targetState) closedAs(action Action) State {
	for _, l := range t.lines {
		if l.phase == PhaseSettled {
			return StatePosted
		}
	}
	if action == actionExpire {
		return StateExpired
	}
	return StateVoided
}

// shown is the entry as callers see it.
func (t *targetState) shown() Recorded {
	r := t.Recorded
	r.Postings = make([]RecordedPosting, len(t.lines))
	for i, l := range t.lines {
		r.Postings[i] = RecordedPosting{
			Number: l.number, Origin: l.origin, Phase: l.phase, Debit: l.debit.Code, Credit: l.credit.Code,
			Amount: l.amount, RecordedAt: l.recordedAt,
		}
	}
	return r
}
