package tx_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/client/tx"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

const guide = "../../docs/guides/enqueue-in-your-transaction.md"

// block reads the guide's block of code in that language, which has to be there once.
func block(t *testing.T, language string, n int) string {
	t.Helper()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(found) <= n {
		t.Fatalf("%s has %d blocks of %s", guide, len(found), language)
	}
	return found[n][1]
}

func TestTheGuidesProgramIsTheExample(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer("package tx_test", "package main", "func Example()", "func main()").Replace(string(example))
	if got := block(t, "go", 0); got != want {
		t.Errorf("%s has\n%s\nand example_test.go\n%s", guide, got, want)
	}
}

func TestTheExampleSendsItsMail(t *testing.T) {
	b := setup(t)
	mails := make(chan string, 10)
	mailer := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mails <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Content-Type") + " " + string(body)
	}))
	t.Cleanup(mailer.Close)
	b.destination("mailer", mailer.URL)
	b.node(nil)
	if err := run(t.Context(), b.appURL("")); err != nil {
		t.Fatal(err)
	}
	select {
	case mail := <-mails:
		if want := `POST /messages application/json {"to": "ada@example.org", "text": "Thank you for order 1001."}`; mail != want {
			t.Fatalf("%s, want %s", mail, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no mail was sent")
	}
	// Placed again, the order is refused, and with it what would follow.
	if err := run(t.Context(), b.appURL("")); err == nil {
		t.Fatal("the order was placed twice")
	}
	if n := b.text(`select count(*)::text from task`); n != "1" {
		t.Fatalf("%s tasks", n)
	}
}

// The grants of the guide are enough, and none of them is too much.
func TestARoleNeedsTheGuidesGrantsAndNoMore(t *testing.T) {
	b := setup(t)
	b.destination("mailer", "https://mailer.example.org")
	role := "shop_" + strings.ToLower(rand.Text())
	b.exec(`create role ` + role)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_, _ = b.db.Pool().Exec(ctx, `drop owned by `+role)
		_, _ = b.db.Pool().Exec(ctx, `drop role `+role)
	})
	queue := func(key, onConflict string) error {
		return pgx.BeginFunc(t.Context(), b.app, func(db pgx.Tx) error {
			if _, err := db.Exec(t.Context(), `set local role `+role); err != nil {
				return err
			}
			_, err := tx.New("default").Enqueue(t.Context(), db, []tx.Task{
				{Queue: "emails", Destination: "mailer", HTTPRequest: &tx.HTTPRequest{URL: "/x"}, UniqueKey: key, UniquePeriod: time.Hour, OnConflict: onConflict},
			})
			return err
		})
	}
	grants := strings.Split(strings.TrimSpace(strings.ReplaceAll(block(t, "sql", 0), " to shop;", " to "+role)), "\n")
	if len(grants) != 5 {
		t.Fatalf("%q", grants)
	}
	for _, grant := range grants {
		if err := queue("too early", ""); err == nil {
			t.Fatalf("it works without %s", grant)
		}
		b.exec(grant)
	}
	for range 2 {
		if err := queue("once", ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := queue("once", "replace"); err == nil {
		t.Fatal("it is replaced without more grants")
	}
	b.exec(`grant select, update, delete on task_live to ` + role)
	b.exec(`grant insert on task_attempt to ` + role)
	if err := queue("once", "replace"); err != nil {
		t.Fatal(err)
	}
}

// A node finds what was committed, one after the other where an ordering key asks for it.
func TestNodesFindWhatWasCommitted(t *testing.T) {
	b := setup(t)
	got := make(chan tasks.Task, 100)
	b.node(got)
	kontor := tx.New("default")
	began := time.Now()
	b.commit(kontor, b.app, "first", tx.Task{Kind: "test", SubjectID: "first"})
	receive(t, got, "first")
	t.Logf("the first was found after %s", time.Since(began).Round(time.Millisecond))
	var slowest time.Duration
	for range 20 {
		began := time.Now()
		b.commit(kontor, b.app, began.String(), tx.Task{Kind: "test", SubjectID: "next"})
		receive(t, got, "next")
		slowest = max(slowest, time.Since(began))
	}
	t.Logf("20 in a row were found after %s at most", slowest.Round(time.Millisecond))
	var list []tx.Task
	for name, key := range map[string]string{"a": "z", "b": "", "c": "y", "d": "x"} {
		list = append(list, tx.Task{Kind: "test", SubjectID: name, OrderingKey: "k", UniqueKey: key})
	}
	slices.SortFunc(list, func(a, b tx.Task) int { return cmp.Compare(a.SubjectID, b.SubjectID) })
	b.commit(kontor, b.app, "ordered 1", list[:2]...)
	b.commit(kontor, b.app, "ordered 2", list[2:]...)
	for _, task := range list {
		receive(t, got, task.SubjectID)
	}
}

func receive(t *testing.T, from <-chan tasks.Task, subject string) {
	t.Helper()
	select {
	case task := <-from:
		if task.SubjectID != subject {
			t.Fatalf("%q was worked on, want %q", task.SubjectID, subject)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%q is not found", subject)
	}
}
