package schedules

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

func TestNodesThatRaceMakeEveryTickOnce(t *testing.T) {
	b := setup(t)
	const schedules, hours = 60, 3
	for i := range schedules {
		in := input(fmt.Sprintf("s-%d", i), "*/5 * * * *")
		in.MisfirePolicy = All
		b.neglect(b.create(in), hours*time.Hour)
	}
	var racers sync.WaitGroup
	for range 4 {
		node := b.node(Config{SchedulesMax: 7, TicksMax: 50})
		racers.Go(func() {
			for b.count(`select count(*) from schedule where next_tick_at <= now()`) > 0 {
				if _, err := node.fireDue(b.Context()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	racers.Wait()
	ticks, tasks := b.count(`select count(*) from schedule_tick`), b.count(`select count(*) from task`)
	if least := schedules * hours * 12; ticks < least || ticks > least+schedules || tasks != ticks {
		t.Errorf("%d ticks and %d tasks", ticks, tasks)
	}
	if n := b.count(`select count(*) from (select schedule_id from schedule_tick group by schedule_id
		having max(tick_at) - min(tick_at) = (count(*) - 1) * interval '5 minutes') s`); n != schedules {
		t.Errorf("only %d of %d schedules have their ticks without gaps", n, schedules)
	}
}

func TestNodesTickInTime(t *testing.T) {
	b := setup(t)
	c := b.create(input("each-second", "* * * * * *"))
	nodes := []*Schedules{b.node(Config{LookMax: 200 * time.Millisecond}), b.node(Config{LookMax: 200 * time.Millisecond})}
	stop := b.run(nodes[0])
	b.until("it ticks", func() bool { return len(b.made(c.ID)) >= 1 })
	b.run(nodes[1])
	b.until("it ticks with two", func() bool { return len(b.made(c.ID)) >= 3 })
	stop()
	b.until("it ticks with the other", func() bool { return len(b.made(c.ID)) >= 5 })
	for i, at := range b.made(c.ID) {
		if want := c.NextTickAt.Add(time.Duration(i) * time.Second); !at.Equal(want) {
			t.Errorf("tick %d is of %s, want %s", i, at, want)
		}
	}
	if n := b.count(`select count(*) from schedule_tick where created_at < tick_at`); n > 0 {
		t.Errorf("%d ticks were early", n)
	}
}

func TestTicksThatNobodyMadeInTime(t *testing.T) {
	for _, c := range []struct {
		name           string
		policy         MisfirePolicy
		most           int
		cron           string
		down           time.Duration
		made, madeUp   int
		withoutMisfire bool
	}{
		{name: "skip", policy: Skip, most: 100, cron: "@every 30m", down: 5*time.Hour + 10*time.Minute},
		{name: "once", policy: Once, most: 100, cron: "@every 30m", down: 5*time.Hour + 10*time.Minute, made: 1, madeUp: 1},
		{name: "all", policy: All, most: 100, cron: "@every 30m", down: 5*time.Hour + 10*time.Minute, made: 10, madeUp: 10},
		{name: "all, bounded", policy: All, most: 4, cron: "@every 30m", down: 5*time.Hour + 10*time.Minute, made: 4, madeUp: 4},
		{name: "skip, and one in time", policy: Skip, most: 100, cron: "@every 30m", down: 5*time.Hour + 20*time.Second, made: 1},
		{name: "once, and one in time", policy: Once, most: 100, cron: "@every 30m", down: 5*time.Hour + 20*time.Second, made: 1},
		{name: "all, and one in time", policy: All, most: 100, cron: "@every 30m", down: 5*time.Hour + 20*time.Second, made: 10, madeUp: 9},
		{name: "in time", policy: Skip, most: 100, cron: "@every 15s", down: 46 * time.Second, made: 3, withoutMisfire: true},
		{name: "once after a month", policy: Once, most: 1, cron: "@every 24h", down: 40*24*time.Hour + time.Hour, made: 1, madeUp: 1},
		{name: "all after a month", policy: All, most: 1000, cron: "@every 24h", down: 40*24*time.Hour + time.Hour, made: 28, madeUp: 28},
		{name: "every second for a day", policy: All, most: 1000, cron: "@every 1s", down: 24 * time.Hour, made: 1060, madeUp: 1000},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := setup(t)
			in := input("s", c.cron)
			in.MisfirePolicy, in.MisfireMax = c.policy, c.most
			s := b.neglect(b.create(in), c.down)
			due := b.count(`select count(*) from schedule where next_tick_at <= now()`)
			// All in one transaction: what is late is decided at one moment, whichever second that is in.
			n, err := b.node(Config{TicksMax: 2000}).fireDue(t.Context())
			if err != nil || n != due {
				t.Fatal(n, err)
			}
			made, madeUp := b.count(`select count(*) from schedule_tick`), b.count(`select count(*) from schedule_tick where missed`)
			if made != c.made || madeUp != c.madeUp || b.count(`select count(*) from task`) != made {
				t.Errorf("%d ticks are made, %d of them made up for; want %d and %d", made, madeUp, c.made, c.madeUp)
			}
			if told := strings.Join(b.told(s.ID), " "); strings.Contains(told, "misfired") == c.withoutMisfire {
				t.Errorf("told %s", told)
			}
			ticks, now := b.made(s.ID), do(b, postgres.Now)
			if after := b.get(s.ID); !after.NextTickAt.After(now.Add(-time.Minute)) || after.Version != 1 ||
				len(ticks) > 0 && !after.LastTickAt.Equal(ticks[len(ticks)-1]) {
				t.Errorf("%+v", after)
			}
		})
	}
}

// A tick that is recorded already has its task, whatever became of the schedule's row.
func TestATickThatIsThereIsNotMadeAgain(t *testing.T) {
	b := setup(t)
	in := input("s", "@every 1h")
	in.MisfirePolicy = All
	s := b.neglect(b.create(in), 3*time.Hour+time.Minute)
	b.fireAll()
	b.exec(`update schedule set ticks_after = ticks_after - interval '3 hours', last_tick_at = null, next_tick_at = $1`, s.NextTickAt)
	b.fireAll()
	if ticks, tasks := b.count(`select count(*) from schedule_tick`), b.count(`select count(*) from task`); ticks != 3 || tasks != 3 {
		t.Errorf("%d ticks, %d tasks", ticks, tasks)
	}
}

func TestATickMakesItsTask(t *testing.T) {
	b := setup(t)
	in := input("s", "@every 1m")
	in.Task.Queue, in.Task.Args = "reports", []byte(`{"day": "{{tick_at}}", "by": "{{schedule_id}}", "left": "{{as it is}}"}`)
	s := b.neglect(b.create(in), time.Minute+time.Second)
	b.fireAll()
	var queue, kind, args, subject string
	err := b.db.Pool().QueryRow(t.Context(), `select queue, kind, args::text, subject_id from task`).Scan(&queue, &kind, &args, &subject)
	want := `{"day": "` + s.NextTickAt.Format(time.RFC3339) + `", "by": "` + id(s) + `", "left": "{{as it is}}"}`
	if err != nil || queue != "reports" || kind != "test" || args != want || subject != id(s) {
		t.Errorf("%s %s %s %s, %v", queue, kind, args, subject, err)
	}
}

func TestATickMakesItsRequest(t *testing.T) {
	b := setup(t)
	in := input("s", "@every 1m")
	args, _ := json.Marshal(tasks.HTTPArgs{Request: tasks.HTTPRequest{
		Method: "POST", URL: "/reports?day={{tick_at}}", Headers: map[string]string{"X-By": "{{schedule_id}}"}, Body: []byte(`{"day":"{{tick_at}}"}`),
	}})
	in.Task = Template{Destination: "reports", HTTPRequest: args}
	s := b.neglect(b.create(in), time.Minute+time.Second)
	b.fireAll()
	var destination, kind string
	var raw []byte
	if err := b.db.Pool().QueryRow(t.Context(), `select destination, kind, args from task`).Scan(&destination, &kind, &raw); err != nil {
		t.Fatal(err)
	}
	got, err := readRequest(raw)
	day := s.NextTickAt.Format(time.RFC3339)
	if err != nil || destination != "reports" || kind != tasks.KindHTTP || got.Request.URL != "/reports?day="+day || got.Request.Headers["X-By"] != id(s) ||
		string(got.Request.Body) != `{"day":"`+day+`"}` {
		t.Errorf("%s %s %s, %v", destination, kind, raw, err)
	}
}

// What this node cannot read is paused, and holds up nothing else.
func TestARuleThatCannotBeReadIsPaused(t *testing.T) {
	b := setup(t)
	broken, sound := b.neglect(b.create(input("broken", "@every 1h")), 2*time.Hour), b.neglect(b.create(input("sound", "@every 1h")), 2*time.Hour)
	b.exec(`update schedule set time_zone = 'Europe/Atlantis' where id = $1`, broken.ID)
	b.fireAll()
	if s := b.get(broken.ID); s.State != Paused || !strings.Contains(s.PauseReason, "Atlantis") || s.Version != 2 {
		t.Errorf("%+v", s)
	}
	if len(b.made(sound.ID)) != 1 {
		t.Error("the sound one has no tick")
	}
	request := b.neglect(b.create(input("request", "@every 1h")), 2*time.Hour)
	b.exec(`update schedule set kind = null, args = null, http_request = '{"request": 1}' where id = $1`, request.ID)
	b.fireAll()
	if s := b.get(request.ID); s.State != Paused || !strings.Contains(s.PauseReason, "HTTP request") || len(b.made(s.ID)) != 0 {
		t.Errorf("%+v", s)
	}
	in := input("broken", "@every 1h")
	do(b, func(ctx context.Context, tx postgres.Tx) (Schedule, error) {
		return b.Update(ctx, tx, b.org, broken.ID, 0, func(said *Input) { *said = in })
	})
}

// Whoever comes first, no tick is made twice, and what the schedule says in the end is right.
func TestEditsRaceWithTicks(t *testing.T) {
	b := setup(t)
	in := input("s", "* * * * * *")
	in.MisfirePolicy = All
	s := b.neglect(b.create(in), time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	var nodes sync.WaitGroup
	for range 2 {
		node := b.node(Config{TicksMax: 3})
		nodes.Go(func() {
			for ctx.Err() == nil {
				if _, err := node.fireDue(t.Context()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	for i := range 40 {
		in.Cron = []string{"* * * * * *", "*/2 * * * * *", "@every 1s"}[i%3]
		do(b, func(ctx context.Context, tx postgres.Tx) (Schedule, error) {
			return b.Update(ctx, tx, b.org, s.ID, 0, func(said *Input) { *said = in })
		})
		if i%10 == 9 {
			do(b, func(ctx context.Context, tx postgres.Tx) (Schedule, error) {
				return b.Pause(ctx, tx, b.org, s.ID, 0, "")
			})
			do(b, func(ctx context.Context, tx postgres.Tx) (Schedule, error) { return b.Resume(ctx, tx, b.org, s.ID, 0) })
		}
	}
	cancel()
	nodes.Wait()
	if ticks, tasks := b.count(`select count(*) from schedule_tick`), b.count(`select count(*) from task`); ticks < 55 || tasks != ticks {
		t.Errorf("%d ticks and %d tasks", ticks, tasks)
	}
}

// A node that does nothing asks once a look and no more.
func TestAnIdleNodeAsksSeldom(t *testing.T) {
	b := setup(t)
	if delay, err := b.untilNext(t.Context()); err != nil || delay != 2*time.Second {
		t.Errorf("%s, %v", delay, err)
	}
	b.create(input("s", "0 0 1 1 *"))
	if pause, err := b.look(t.Context()); err != nil || pause != 2*time.Second {
		t.Errorf("%s, %v", pause, err)
	}
	b.create(input("soon", "@every 1s"))
	if pause, err := b.look(t.Context()); err != nil || pause > time.Second || pause <= 0 {
		t.Errorf("%s, %v", pause, err)
	}
}
