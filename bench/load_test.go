package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// listener remembers what a load sends, and answers as it is told.
type listener struct {
	mu     sync.Mutex
	keys   map[string]bool
	bodies []string
	twice  int // keys that came again
	answer func(n int, w http.ResponseWriter)
}

func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	l.mu.Lock()
	key := r.Header.Get("Idempotency-Key")
	if l.keys[key] {
		l.twice++
	}
	l.keys[key] = true
	l.bodies = append(l.bodies, string(body))
	n := len(l.bodies)
	l.mu.Unlock()
	l.answer(n, w)
}

func driven(t *testing.T, answer func(n int, w http.ResponseWriter)) (*listener, sample, outcome) {
	t.Helper()
	l := &listener{keys: map[string]bool{}, answer: answer}
	server := httptest.NewServer(l)
	t.Cleanup(server.Close)
	load := load{
		address: strings.TrimPrefix(server.URL, "http://"), connections: 3, request: newRequest(entriesPath, "key", entryBody),
		choose: twoAccounts, contains: []byte("good"),
	}
	edges := 0
	s, o, err := load.drive(t.Context(), window{count: 200 * time.Millisecond}, func(bool) { edges++ })
	if err != nil || edges != 2 {
		t.Fatalf("drive: %v, %d edges", err, edges)
	}
	return l, s, o
}

func TestDriveSendsWhatTheContractWants(t *testing.T) {
	t.Parallel()
	l, s, o := driven(t, func(_ int, w http.ResponseWriter) {
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte("good"))
	})
	if s.done == 0 || s.errors != 0 || o.accepted != len(l.bodies) || s.done > o.accepted {
		t.Errorf("counted %d done, %d errors, %d accepted of %d", s.done, s.errors, o.accepted, len(l.bodies))
	}
	if l.twice != 0 {
		t.Errorf("%d keys came twice", l.twice)
	}
	form := regexp.MustCompile(`^[0-9a-f]{32}$`)
	for key := range l.keys {
		if !form.MatchString(key) {
			t.Fatalf("key %q", key)
		}
	}
	for _, body := range l.bodies {
		var in struct {
			Postings []struct {
				DebitAccount  string `json:"debit_account"`
				CreditAccount string `json:"credit_account"`
			} `json:"postings"`
		}
		if err := json.Unmarshal([]byte(body), &in); err != nil || len(in.Postings) != 1 {
			t.Fatalf("body %s: %v", body, err)
		}
		debit, credit := lastNumber(in.Postings[0].DebitAccount), lastNumber(in.Postings[0].CreditAccount)
		if debit == credit || debit >= accountsMax || credit >= accountsMax || accountCode(debit) != in.Postings[0].DebitAccount {
			t.Fatalf("from %d to %d in %s", debit, credit, body)
		}
	}
}

func TestDriveCountsWhatIsNotGood(t *testing.T) {
	t.Parallel()
	_, s, o := driven(t, func(n int, w http.ResponseWriter) {
		switch n % 4 {
		case 0:
			panic(http.ErrAbortHandler) // the connection breaks
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte("bad"))
		default:
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte("good"))
		}
	})
	if o.accepted == 0 || s.errors < 2*o.accepted || o.example == "" {
		t.Errorf("%d accepted, %d errors, such as %q; three of four were bad", o.accepted, s.errors, o.example)
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}

func TestLanesBetween(t *testing.T) {
	t.Parallel()
	const a, b = `{lane="a"}`, `{lane="b"}`
	before := map[string]float64{"kontor_lane_batch_size_sum" + a: 10, "kontor_lane_batch_size_count" + a: 2}
	after := map[string]float64{
		"kontor_lane_batch_size_sum" + a: 40, "kontor_lane_batch_size_count" + a: 5,
		"kontor_lane_wait_seconds_sum" + a: .03, "kontor_lane_wait_seconds_count" + a: 30,
		"kontor_lane_batch_size_sum" + b: 0, "kontor_lane_batch_size_count" + b: 0,
	}
	got := lanesBetween(before, after)
	if len(got) != 1 || got[0] != (laneTime{Lane: "a", Batch: 10, Wait: 1}) {
		t.Errorf("got %+v", got)
	}
}
