package tasks

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/kontorhq/kontor/internal/platform/destinations"
)

// The disk has no room for what is long. That an attempt has ended is recorded all the same, and nobody else's request and
// answer are lost.
func TestAFullDiskLosesWhatWasSaidAndNotWhatWasDone(t *testing.T) {
	b := setup(t)
	b.exec(`
		create function full_disk() returns trigger language plpgsql as $$
		begin
			if length(new.exchange::text) > 4000 then
				raise exception 'could not extend file' using errcode = 'disk_full';
			end if;
			return new;
		end $$`)
	b.exec(`create trigger full_disk before insert on task_attempt for each row execute function full_disk()`)
	node := b.node("a", Config{Workers: 64})
	b.other(node, destinations.Settings{}, func(_ int, w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/refused":
			w.WriteHeader(http.StatusBadRequest)
			fallthrough
		case "/long":
			_, _ = w.Write(bytes.Repeat([]byte("x"), 5000))
		}
	})
	const short, long, refused = 200, 10, 5
	var specs []Spec
	for i := range short {
		specs = append(specs, b.request(post("/short")))
		if i < long {
			specs = append(specs, b.request(post("/long")))
		}
		if i < refused {
			specs = append(specs, b.request(post("/refused")))
		}
	}
	b.queueOnly(node, specs...)
	b.run(node)
	b.until("all are done", func() bool { return b.count(`select count(*) from task_live`) == 0 })
	const lostSQL = `select count(*) from task_attempt where outcome = $1 and status = $2 and exchange is null and detail ->> 'exchange_lost' like '%could not extend file%'`
	kept := b.count(`select count(*) from task_attempt where outcome = 'succeeded' and exchange is not null and detail is null`)
	lost, dead := b.count(lostSQL, "succeeded", 200), b.count(lostSQL, "failed", 400)
	if kept != short || lost != long || dead != refused {
		t.Errorf("%d kept, %d and %d lost", kept, lost, dead)
	}
	if n := b.count(`select count(*) from task_dead_letter where error = '400 Bad Request'`); n != refused {
		t.Errorf("%d dead letters", n)
	}
	if n := b.count(`select count(*) from task_attempt`); n != short+long+refused {
		t.Errorf("%d attempts", n)
	}
}

// What PostgreSQL takes for no text must not keep a failure from being recorded.
func TestAnErrorOfAnyTextIsRecorded(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	node.Handle("test", Policy{}, func(context.Context, Task) Verdict {
		return Failed("odd", errors.New("a\x00b\xff\xfe\\u0000"))
	})
	b.run(node)
	b.untilFinished(b.queue(node, b.spec(0))...)
	if n := b.count(`select count(*) from task_dead_letter where error like 'a%b%' and error_code = 'odd'`); n != 1 {
		t.Error("no dead letter")
	}
}
