package schedules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

func id(s Schedule) string { return ids.Format(Prefix, s.ID) }

func TestAScheduleIsWhatItWasMadeOf(t *testing.T) {
	b := setup(t)
	in := Input{
		Name: "Nightly-2", Cron: "30 2 * * *", TimeZone: "Europe/Berlin", MisfirePolicy: All, MisfireMax: 7, MisfireGraceSeconds: 5,
		Task: Template{Queue: "reports", Destination: "stripe", HTTPRequest: []byte(`{"request":{"method":"POST","url":"/x"}}`), Terms: Terms{
			Priority: 2, LimitKey: "l", Units: 3, OrderingKey: "o", FairnessKey: "f", FairnessWeight: 4, Tags: []string{"t"},
			TimeoutSeconds: 5, ExpireAfterSeconds: 6, RetryConfig: []byte(`{"max_attempts":7}`),
		}},
	}
	made := b.create(in)
	read := b.get(made.ID)
	want, _ := json.Marshal(made)
	if got, _ := json.Marshal(read); string(got) != string(want) || !strings.Contains(string(got), `"misfire_grace_seconds":5`) {
		t.Errorf("read %s, made %s", got, want)
	}
	if hour, minute := made.NextTickAt.In(load(t, in.TimeZone)).Hour(), made.NextTickAt.Minute(); hour != 2 && hour != 3 || minute != 30 && hour == 2 {
		t.Errorf("next is %s", made.NextTickAt)
	}
	refused(b, b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		if _, err := b.Create(ctx, tx, b.org, in); !errors.Is(err, ErrNameTaken) {
			return err
		}
		_, err := b.Get(ctx, tx, b.source.New(), made.ID) // the transaction is whole, and the organisation another
		return err
	}), ErrNotFound)
	if told := b.told(made.ID); !slices.Equal(told, []string{"schedule.created"}) {
		t.Errorf("told %v", told)
	}
}

func TestEveryMistakeIsToldAtOnce(t *testing.T) {
	b := setup(t)
	in := Input{
		Name: "a b", Cron: "61 * * * *", TimeZone: "Mars/Olympus", MisfirePolicy: "never", MisfireMax: 1001, MisfireGraceSeconds: -1,
		Task: Template{Queue: "q q", Destination: "d/d", Kind: "K", Args: []byte(`[]`)},
	}
	params := func(in Input) []string {
		err := b.inTx(func(ctx context.Context, tx postgres.Tx) error {
			_, err := b.Create(ctx, tx, b.org, in)
			return err
		})
		refused(b, err, ErrInvalid)
		var list []string
		for _, p := range fault.From(err).Params {
			list = append(list, p.Param)
			if p.Detail == "" {
				t.Errorf("%s has no sentence", p.Param)
			}
		}
		return list
	}
	want := []string{"name", "cron", "time_zone", "misfire_policy", "misfire_max", "misfire_grace_seconds", "task.queue", "task.destination", "task.kind", "task.args"}
	if got := params(in); !slices.Equal(got, want) {
		t.Errorf("told %v", got)
	}
	for _, task := range []Template{
		{},
		{Kind: "test", HTTPRequest: []byte(`{}`)},
		{Destination: "d", HTTPRequest: []byte(`{"request":{"method":"POST"}}`)},
		{Destination: "d", HTTPRequest: []byte(`{"request":{"method":"POST","url":"/x"},"more":1}`)},
		{HTTPRequest: []byte(`{"request":{"method":"POST","url":"/x"}}`)},
		{Destination: "d", HTTPRequest: []byte(`{"request":{"method":"POST","url":"/x"}}`), Args: []byte(`{}`)},
		{Kind: "test", Args: []byte("{\"a\": \"\xff\"}")},
		{Kind: "test", Args: []byte(`{"a": "` + strings.Repeat("x", 1<<20) + `"}`)},
	} {
		if got := params(Input{Name: "s", Cron: "@daily", Task: task}); len(got) != 1 || !strings.HasPrefix(got[0], "task") {
			t.Errorf("%.100v: told %v", task, got)
		}
	}
	if got := params(Input{Name: "s", Cron: "0 0 30 2 *", Task: Template{Kind: "test"}}); !slices.Equal(got, []string{"cron"}) {
		t.Errorf("told %v", got)
	}
}

func TestAnEditKeepsOrChangesTheTicks(t *testing.T) {
	b := setup(t)
	in := input("s", "@every 1h")
	in.MisfirePolicy = All
	s := b.neglect(b.create(in), 3*time.Hour+time.Minute)
	update := func(version int64, in Input) (Schedule, error) {
		var out Schedule
		err := b.inTx(func(ctx context.Context, tx postgres.Tx) (err error) {
			out, err = b.Update(ctx, tx, b.org, s.ID, version, func(said *Input) { *said = in })
			return err
		})
		return out, err
	}
	in.Task.Args = []byte(`{"new": true}`)
	kept, err := update(1, in)
	if err != nil || !kept.NextTickAt.Equal(s.NextTickAt) || kept.Version != 2 || len(b.made(s.ID)) != 0 {
		t.Fatalf("%+v, %v", kept, err)
	}
	if _, err := update(1, in); !errors.Is(err, ErrVersionConflict) {
		t.Error(err)
	}
	// Under a new rule, what was due under the old one is made as it was.
	in.Cron, in.Task.Args = "0 0 1 1 *", []byte(`{"new": 2}`)
	changed, err := update(2, in)
	if err != nil || changed.Version != 3 || !changed.NextTickAt.After(do(b, postgres.Now)) || changed.NextTickAt.Month() != 1 {
		t.Fatalf("%+v, %v", changed, err)
	}
	if ticks := b.made(s.ID); len(ticks) != 3 || !changed.LastTickAt.Equal(ticks[2]) {
		t.Errorf("ticks %v", ticks)
	}
	if n := b.count(`select count(*) from task where args::jsonb @> '{"new": true}'`); n != 3 {
		t.Errorf("%d tasks of the old template", n)
	}
	b.fireAll()
	if n := b.count(`select count(*) from task`); n != 3 {
		t.Errorf("%d tasks", n)
	}
	// Back again: no tick is made that was accounted for.
	in.Cron = "* * * * * *"
	if _, err := update(0, in); err != nil {
		t.Fatal(err)
	}
	b.create(input("other", "@daily"))
	in.Name = "other"
	if _, err := update(0, in); !errors.Is(err, ErrNameTaken) {
		t.Error(err)
	}
	if told := b.told(s.ID); !slices.Equal(told, []string{"schedule.created", "schedule.updated", "schedule.misfired", "schedule.updated", "schedule.updated"}) {
		t.Errorf("told %v", told)
	}
}

func TestWhatIsPausedDoesNotTick(t *testing.T) {
	b := setup(t)
	in := input("s", "@every 1h")
	in.MisfirePolicy = All
	s := b.neglect(b.create(in), 3*time.Hour+time.Minute)
	paused := do(b, func(ctx context.Context, tx postgres.Tx) (Schedule, error) {
		return b.Pause(ctx, tx, b.org, s.ID, 1, "the books are closed")
	})
	if paused.State != Paused || paused.PauseReason == "" || !paused.NextTickAt.IsZero() || paused.Version != 2 {
		t.Errorf("%+v", paused)
	}
	b.fireAll()
	in.MisfireMax = 9
	do(b, func(ctx context.Context, tx postgres.Tx) (Schedule, error) {
		return b.Update(ctx, tx, b.org, s.ID, 2, func(said *Input) { *said = in })
	})
	again := do(b, func(ctx context.Context, tx postgres.Tx) (Schedule, error) {
		return b.Pause(ctx, tx, b.org, s.ID, 0, "")
	})
	if again.Version != 3 || again.PauseReason == "" || again.Misfire.Max != 9 {
		t.Errorf("%+v", again)
	}
	resumed := do(b, func(ctx context.Context, tx postgres.Tx) (Schedule, error) { return b.Resume(ctx, tx, b.org, s.ID, 3) })
	b.fireAll()
	if resumed.State != Active || resumed.PauseReason != "" || len(b.made(s.ID)) != 0 ||
		resumed.NextTickAt.Sub(s.NextTickAt) != 3*time.Hour { // in step with its beginning
		t.Errorf("%+v", resumed)
	}
	if told := b.told(s.ID); !slices.Equal(told, []string{"schedule.created", "schedule.paused", "schedule.updated", "schedule.resumed"}) {
		t.Errorf("told %v", told)
	}
	refused(b, b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		_, err := b.Pause(ctx, tx, b.org, s.ID, 0, "\xff")
		return err
	}), ErrInvalid)
}

func TestWhatIsDeletedIsGoneAndItsTasksStay(t *testing.T) {
	b := setup(t)
	s := b.neglect(b.create(input("s", "@every 1h")), 2*time.Hour)
	b.fireAll()
	remove := func(ctx context.Context, tx postgres.Tx) error {
		_, err := b.Delete(ctx, tx, b.org, s.ID, 0)
		return err
	}
	if err := b.inTx(remove); err != nil {
		t.Fatal(err)
	}
	refused(b, b.inTx(remove), ErrNotFound)
	if b.count(`select count(*) from task`) != 1 || len(b.made(s.ID)) != 1 || b.told(s.ID)[len(b.told(s.ID))-1] != "schedule.deleted" {
		t.Error("its tasks or ticks are gone, or it was not told")
	}
	b.create(input("s", "@daily")) // the name is free
}

func TestATaskCanBeHadNow(t *testing.T) {
	b := setup(t)
	s := b.create(input("s", "0 0 1 1 *"))
	task := do(b, func(ctx context.Context, tx postgres.Tx) (ids.ID, error) { return b.RunNow(ctx, tx, b.org, s.ID) })
	if n := b.count(`select count(*) from task join task_live on task_id = id where id = $1 and due_at < now() + interval '1 s'`, task); n != 1 {
		t.Error("there is no task that is due")
	}
	if after := b.get(s.ID); !after.NextTickAt.Equal(s.NextTickAt) || after.Version != 1 || len(b.made(s.ID)) != 0 {
		t.Errorf("%+v", after)
	}
}

// Whoever asks for a task now is told why there is none, as whoever creates it is. A schedule's ticks are asked for by nobody.
func TestAQueueThatDrainsIsGivenNoTaskNow(t *testing.T) {
	b := setup(t)
	in := input("s", "@every 1h")
	in.Task.Queue = "reports"
	s := b.create(in)
	run := func(ctx context.Context, tx postgres.Tx) error {
		_, err := b.RunNow(ctx, tx, b.org, s.ID)
		return err
	}
	do(b, func(ctx context.Context, tx postgres.Tx) (tasks.Queue, error) {
		return b.queue.DrainQueue(ctx, tx, b.org, "reports")
	})
	refused(b, b.inTx(run), tasks.ErrQueueDraining)
	b.neglect(s, time.Hour+time.Second)
	b.fireAll()
	if ticks, tasks := len(b.made(s.ID)), b.count(`select count(*) from task`); ticks != 1 || tasks != 1 {
		t.Errorf("%d ticks and %d tasks", ticks, tasks)
	}
}

func TestSchedulesAreListedByPages(t *testing.T) {
	b := setup(t)
	var want, got []string
	for i := range 25 {
		want = append(want, b.create(input(fmt.Sprint("s-", i), "@daily")).Name)
	}
	for cursor, first := (paging.Cursor{}), true; first || !cursor.IsZero(); first = false {
		err := b.inTx(func(ctx context.Context, tx postgres.Tx) error {
			page, next, err := b.List(ctx, tx, b.org, Filter{State: Active}, cursor, 10)
			for _, s := range page {
				got = append(got, s.Name)
			}
			cursor = next
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v", got)
	}
	named := do(b, func(ctx context.Context, tx postgres.Tx) ([]Schedule, error) {
		list, _, err := b.List(ctx, tx, b.org, Filter{Name: "s-7"}, paging.Cursor{}, 0)
		return list, err
	})
	if len(named) != 1 || named[0].Name != "s-7" {
		t.Errorf("%v", named)
	}
}

func TestAPreviewShowsWhatWillCome(t *testing.T) {
	b := setup(t)
	list := do(b, func(ctx context.Context, tx postgres.Tx) ([]time.Time, error) {
		return b.Preview(ctx, tx, "@every 1h", "", 3)
	})
	if len(list) != 3 || list[2].Sub(list[0]) != 2*time.Hour || list[0].Before(do(b, postgres.Now).Add(50*time.Minute)) {
		t.Errorf("%v", list)
	}
	s := b.create(input("s", "15 3 * * *"))
	list = do(b, func(ctx context.Context, tx postgres.Tx) ([]time.Time, error) {
		return b.PreviewOf(ctx, tx, b.org, s.ID, 1000)
	})
	if len(list) != PreviewMax || !list[0].Equal(s.NextTickAt) || list[1].Sub(list[0]) != 24*time.Hour {
		t.Errorf("%d, %v", len(list), list)
	}
	refused(b, b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		_, err := b.Preview(ctx, tx, "nonsense", "Nowhere", 3)
		return err
	}), ErrInvalid)
}
