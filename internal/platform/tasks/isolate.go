package tasks

import (
	"context"
	"math/rand/v2"
	"time"
)

// A node that dies takes with it all that it works on, and what was begun together is taken over together, and again, and is poison in
// the end, though one of it was to blame. So a task that would be poison if its lease were lost once more is begun alone: a
// node has one of those under way, and hands the others back before it begins that one.

// suspectPause is how long a suspect waits, at the least, when another is under way.
const suspectPause = 500 * time.Millisecond

// suspect tells whether the task is poison if this lease is lost as well.
func (t *Tasks) suspect(task *Task) bool {
	most := t.kinds[task.Kind].policy.LostMax
	return task.lost > 0 && task.lost == most-1
}

// isolate leaves at most one suspect in a list that was claimed, and none while one is under way. The others are back in
// the database when it returns: what kills this node now does not count against them.
func (t *Tasks) isolate(ctx context.Context, list []Task) []Task {
	first := -1
	for i := range list {
		if t.suspect(&list[i]) {
			first = i
			break
		}
	}
	if first < 0 {
		return list
	}
	rest := list[:first:first]
	t.mu.Lock()
	under := false
	for _, h := range t.held {
		under = under || !h.lost && t.suspect(&h.task)
	}
	var others []giveBack
	for i := first; i < len(list); i++ {
		switch {
		case !t.suspect(&list[i]):
			rest = append(rest, list[i])
		case !under:
			under = true
			rest = append(rest, list[i])
		default:
			list[i].unused()
			others = append(others, giveBack{list[i], suspectPause + time.Duration(rand.Int64N(int64(4*suspectPause)))})
		}
	}
	t.mu.Unlock()
	t.handBack(ctx, others)
	return rest
}
