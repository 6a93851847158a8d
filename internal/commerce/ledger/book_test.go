package ledger

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

var update = flag.Bool("update", false, "write the outcomes into testdata")

// TestBook plays the scripts in testdata/book: one command a line, its outcome in the last column.
//
//	account CODE TYPE ASSET [min=N] [max=N] [debits=N] [credits=N]
//	post|hold A>B N [A>B N …] [as=NAME] [ref=R] [code=C] [at=TIME] [expires=TIME]
//	settle NAME [N …] [keep] [at=TIME]        release NAME        expire NAME
//	reverse NAME [as=NAME] [ref=R] [code=C] [at=TIME]
//	wait DURATION                             commit
//
// N is an integer, or max for the largest there is, or max-N. TIME is a duration from the script's beginning. A commit ends
// the batch: it tells the events and what is written, and what follows finds the entries loaded instead of fresh.
func TestBook(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/book/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			playFile(t, file)
		})
	}
}

func playFile(t *testing.T, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(t)
	lines := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
	commands, outcomes, width := make([]string, len(lines)), make([]string, len(lines)), 0
	for i, line := range lines {
		command, want, _ := strings.Cut(line, "|")
		commands[i] = strings.TrimRight(command, " ")
		if commands[i] == "" || commands[i][0] == '#' {
			commands[i] = line
			continue
		}
		outcomes[i] = s.play(commands[i])
		if !strings.HasPrefix(commands[i], "account") {
			width = max(width, len(commands[i]))
		}
		if want = strings.TrimSpace(want); !*update && want != outcomes[i] {
			t.Errorf("%s:%d: %s\n\tgives %s\n\twant  %s", file, i+1, commands[i], outcomes[i], want)
		}
	}
	if !*update {
		return
	}
	var out strings.Builder
	for i := range lines {
		if outcomes[i] == "" {
			fmt.Fprintln(&out, commands[i])
			continue
		}
		fmt.Fprintf(&out, "%-*s | %s\n", width, commands[i], outcomes[i])
	}
	if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestBookScriptsMeetEveryCode holds that no outcome of the book is left out of the scripts.
func TestBookScriptsMeetEveryCode(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/book/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			_, outcome, _ := strings.Cut(line, "| ")
			all.WriteString(outcome)
		}
	}
	met := strings.Fields(all.String())
	for _, f := range []*fault.Fault{
		ErrAccountNotFound, ErrAccountsMustDiffer, ErrAssetsMustMatch, ErrAmountNotPositive, ErrPostingCount, ErrTooLong, ErrOnlyPendingExpires,
		ErrOverflow, ErrExceedsAvailable, ErrExceedsAvailableMax, ErrExceedsPending, ErrEntryNotFound, ErrAlreadyPosted, ErrAlreadyVoided,
		ErrExpired, ErrNotPosted, ErrAlreadyReversed, ErrAmountCount, ErrExists, ErrExistsOtherAmount, ErrExistsOtherAccount, ErrExistsOtherCode,
		ErrExistsOtherState, ErrExistsOtherDate,
	} {
		if !slices.Contains(met, f.Code) {
			t.Errorf("no script meets %s", f.Code)
		}
	}
}

// script is a book without a database.
type script struct {
	t      *testing.T
	book   *book
	org    ids.ID
	start  time.Time
	source *ids.Source
	names  map[string]ids.ID
}

func newScript(t *testing.T) *script {
	s := &script{t: t, start: time.Date(2027, 1, 5, 12, 0, 0, 0, time.UTC), names: map[string]ids.ID{}}
	s.source = ids.NewSource(func() time.Time { return s.start })
	s.org = s.source.New()
	s.book = &book{
		now: s.start, newID: s.source.New, byCode: map[accountKey]*accountState{}, byID: map[entryKey]*accountState{},
		targets: map[entryKey]*targetState{}, references: map[referenceKey]*targetState{},
	}
	return s
}

func (s *script) play(command string) string {
	s.t.Helper()
	words := strings.Fields(command)
	verb, words := words[0], words[1:]
	switch verb {
	case "account":
		return s.account(words)
	case "wait":
		s.book.now = s.book.now.Add(s.duration(words[0]))
		return s.book.now.Sub(s.start).String() + " after the beginning"
	case "commit":
		return s.commit()
	default:
		return s.apply(verb, words)
	}
}

func (s *script) account(words []string) string {
	a := &accountState{Account: Account{OrgID: s.org, ID: s.source.New(), Code: words[0], Type: AccountType(words[1]), Asset: words[2], Scale: 2}}
	for _, word := range words[3:] {
		name, value, _ := strings.Cut(word, "=")
		n := s.number(value)
		switch name {
		case "min":
			a.AvailableMin = &n
		case "max":
			a.AvailableMax = &n
		case "debits":
			a.Balance.DebitsPosted = n
		case "credits":
			a.Balance.CreditsPosted = n
		default:
			s.t.Fatalf("an account has no %q", name)
		}
	}
	s.book.byCode[accountKey{s.org, a.Code}], s.book.byID[entryKey{s.org, a.ID}] = a, a
	return ""
}

func (s *script) apply(verb string, words []string) string {
	e := Entry{OrgID: s.org, ID: s.source.New(), Code: "test"}
	switch verb {
	case "post":
	case "hold":
		e.Action = ActionHold
	case "settle":
		e.Action = ActionSettle
	case "release":
		e.Action = ActionRelease
	case "expire":
		e.Action = actionExpire
	case "reverse":
		e.Action, e.Code = ActionReverse, ""
	default:
		s.t.Fatalf("no command %q", verb)
	}
	if e.Action != ActionPost && e.Action != ActionHold && len(words) > 0 {
		e.Target, words = s.names[words[0]], words[1:]
	}
	name := ""
	for _, word := range words {
		s.word(&e, word, &name)
	}
	err := e.validate()
	var r Result
	if err == nil {
		r = s.book.apply(&e)
		err = r.Err
	}
	if err != nil {
		s.sameEntryWhenItExists(&e, &r, err)
		return fault.From(err).Code
	}
	if name != "" {
		s.names[name] = r.Entry.ID
	}
	return s.shown(&r)
}

// word reads one word of a command into the entry.
func (s *script) word(e *Entry, word string, name *string) {
	key, value, isOption := strings.Cut(word, "=")
	debit, credit, isPosting := strings.Cut(word, ">")
	switch {
	case isPosting:
		e.Postings = append(e.Postings, Posting{Debit: debit, Credit: credit})
	case word == "keep":
		e.Keep = true
	case !isOption && e.Action == ActionSettle:
		e.Amounts = append(e.Amounts, s.number(word))
	case !isOption:
		e.Postings[len(e.Postings)-1].Amount = s.number(word)
	case key == "as":
		*name = value
	case key == "ref":
		e.Reference = value
	case key == "code":
		e.Code = value
	case key == "at":
		e.EffectiveAt = s.start.Add(s.duration(value))
	case key == "expires":
		e.ExpiresAt = s.start.Add(s.duration(value))
	case key == "postings": // that many, all alike
		for range s.number(value) {
			e.Postings = append(e.Postings, Posting{Debit: "cash", Credit: "wallet", Amount: 1})
		}
	default:
		s.t.Fatalf("no option %q", key)
	}
}

// sameEntryWhenItExists holds that "exists" shows the entry that exists, postings and all.
func (s *script) sameEntryWhenItExists(e *Entry, r *Result, err error) {
	if !errors.Is(err, ErrExists) {
		return
	}
	if r.Entry.Reference != e.Reference || len(r.Entry.Postings) == 0 {
		s.t.Errorf("exists, but what is shown is %+v", r.Entry)
	}
}

func (s *script) shown(r *Result) string {
	var out strings.Builder
	out.WriteString(string(r.Entry.State))
	for i, b := range r.Balances {
		separator := ", "
		if i == 0 {
			separator = ": "
		}
		posted := b.Balance.Posted(b.Type)
		fmt.Fprintf(&out, "%s%s %d", separator, b.Code, posted)
		if n := b.Balance.Available(b.Type); n != posted {
			fmt.Fprintf(&out, " (available %d)", n)
		}
		if n := b.Balance.Potential(b.Type); n != posted {
			fmt.Fprintf(&out, " (potential %d)", n)
		}
	}
	return out.String()
}

// commit tells what the batch writes and leaves the book as the next batch would load it.
func (s *script) commit() string {
	var out strings.Builder
	for i, e := range s.book.events() {
		if i > 0 {
			out.WriteString(", ")
		}
		out.WriteString(strings.TrimPrefix(e.Type, "ledger.entry."))
		for name, id := range s.names {
			if id == e.AggregateID {
				out.WriteString(" " + name)
			}
		}
	}
	fmt.Fprintf(&out, "; writes %d entries, %d postings, %d accounts, closes", len(s.book.entries), len(s.book.postings), len(s.book.touched))
	for _, t := range s.book.settled {
		if t.State != StatePending {
			fmt.Fprintf(&out, " %s", t.State)
		}
	}
	for _, a := range s.book.touched {
		a.dirty = false
	}
	for _, t := range s.book.targets {
		t.fresh, t.changed = false, false
	}
	b := *s.book
	s.book = &book{now: b.now, newID: b.newID, byCode: b.byCode, byID: b.byID, targets: b.targets, references: b.references}
	return strings.TrimSuffix(out.String(), ", closes")
}

func (s *script) number(word string) int64 {
	if rest, ok := strings.CutPrefix(word, "max"); ok {
		if rest == "" {
			return math.MaxInt64
		}
		return math.MaxInt64 + s.number(rest)
	}
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) duration(word string) time.Duration {
	d, err := time.ParseDuration(word)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}
