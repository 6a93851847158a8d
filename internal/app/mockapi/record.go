package mockapi

import (
	"encoding/hex"
	"strings"
	"time"
)

// RecordMaxDefault is how many arrivals are remembered unless a Config says otherwise.
const RecordMaxDefault = 1_000_000

// Verdict is what became of an arrival at the door; what a fault did to it afterwards is told apart.
type Verdict string

// The verdicts.
const (
	Accepted     Verdict = "accepted"     // within the limits, and let in
	Refused      Verdict = "refused"      // 429: over a limit
	Crowded      Verdict = "crowded"      // 429 or 503: too many at once
	Unauthorised Verdict = "unauthorised" // 401; it counts against the limits like an accepted one
	Invalid      Verdict = "invalid"      // 400 or 413, or the body never came; it counts as well
	Down         Verdict = "down"         // the API was told to be down
)

// Arrival is one request in the record.
type Arrival struct {
	Number         int64     `json:"number"` // from 1, in the order of arrival
	At             time.Time `json:"at"`
	AtNanoseconds  int64     `json:"at_ns"` // since the server's start, by the monotonic clock
	Method         string    `json:"method"`
	Path           string    `json:"path"`
	IdempotencyKey string    `json:"idempotency_key,omitempty"`
	Task           string    `json:"task,omitempty"`        // X-Kontor-TaskName
	RetryCount     string    `json:"retry_count,omitempty"` // X-Kontor-TaskRetryCount
	BodySHA256     Hash      `json:"body_sha256"`
	BodyBytes      int64     `json:"body_bytes"`
	Verdict        Verdict   `json:"verdict"`
	Fault          string    `json:"fault,omitempty"`
	Effect         int64     `json:"effect,omitempty"`   // the number of the effect this request made; 0: none
	Replayed       int64     `json:"replayed,omitempty"` // the number of the effect an earlier request with the key has made
	Status         int       `json:"status,omitempty"`   // of the answer; 0: none was sent, or not yet
	EndNanoseconds int64     `json:"end_ns,omitempty"`   // when its answer was about to be sent, or its end without one; 0: under way
}

// Hash is a SHA-256 that JSON shows in hexadecimal.
type Hash [32]byte

// MarshalText shows the hash.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads it.
func (h *Hash) UnmarshalText(text []byte) error {
	_, err := hex.Decode(h[:], text[:min(len(text), 2*len(h))])
	return err
}

// record is the arrivals that are remembered: the newest. It grows and forgets by chunks, so that neither takes long.
// Guarded by its server's lock.
type record struct {
	most    int
	chunks  [][]Arrival
	size    int   // of a chunk
	first   int64 // the number of the first arrival of the first chunk
	kept    int
	dropped int64
}

func newRecord(most int, first int64) *record {
	return &record{most: most, size: min(max(most/16, 1), 4096), first: first}
}

// add appends an arrival, whose number must be the next.
func (r *record) add(a Arrival) {
	if r.kept == r.most {
		n := len(r.chunks[0])
		r.chunks = append(r.chunks[:0], r.chunks[1:]...)
		r.first += int64(n)
		r.kept -= n
		r.dropped += int64(n)
	}
	if last := len(r.chunks) - 1; last < 0 || len(r.chunks[last]) == r.size {
		r.chunks = append(r.chunks, make([]Arrival, 0, r.size))
	}
	last := len(r.chunks) - 1
	r.chunks[last] = append(r.chunks[last], a)
	r.kept++
}

// at is the arrival with the number, nil if it is not remembered.
func (r *record) at(number int64) *Arrival {
	i := number - r.first
	if i < 0 || i >= int64(r.kept) {
		return nil
	}
	return &r.chunks[i/int64(r.size)][i%int64(r.size)]
}

// caller is what is known of an idempotency key; or, for what it may ask of us by the count of its requests, of a task or a
// path that sends none.
type caller struct {
	identity string
	arrivals int
	made     []int64 // the numbers of its effects
	firstAt  time.Duration
	lastAt   time.Duration
	asked    *Hash // what the first request with an effect wanted: method, path and body
}

// callers are remembered like arrivals: the newest, by when they came first.
type callers struct {
	most    int
	known   map[string]*caller
	order   []*caller // from first on
	first   int
	dropped int64
}

func newCallers(most int) *callers { return &callers{most: most, known: map[string]*caller{}} }

// arrived counts a request of a caller.
func (c *callers) arrived(identity string, now time.Duration) *caller {
	known := c.known[identity]
	if known == nil {
		if len(c.known) == c.most {
			delete(c.known, c.order[c.first].identity)
			c.order[c.first] = nil
			c.first++
			c.dropped++
		}
		if c.first > c.most/2 {
			c.order = append(c.order[:0], c.order[c.first:]...)
			c.first = 0
		}
		known = &caller{identity: strings.Clone(identity), firstAt: now}
		c.known[known.identity] = known
		c.order = append(c.order, known)
	}
	known.arrivals++
	known.lastAt = now
	return known
}

const keyIdentity = "key:"

// identity is who a request is from, as far as it says.
func identity(key, task, method, path string) string {
	switch {
	case key != "":
		return keyIdentity + key
	case task != "":
		return "task:" + task
	default:
		return "path:" + method + " " + path
	}
}

func (c *caller) isKey() bool { return strings.HasPrefix(c.identity, keyIdentity) }

// KeyRecord is what happened under one idempotency key.
type KeyRecord struct {
	IdempotencyKey string    `json:"idempotency_key"`
	Arrivals       int       `json:"arrivals"`
	Effects        []int64   `json:"effects"` // their numbers: more than one is an effect made twice
	FirstAt        time.Time `json:"first_at"`
	LastAt         time.Time `json:"last_at"`
}

// shown is the record of a caller that has an idempotency key.
func (c *caller) shown(watch stopwatch) KeyRecord {
	return KeyRecord{
		IdempotencyKey: strings.TrimPrefix(c.identity, keyIdentity), Arrivals: c.arrivals, Effects: append([]int64{}, c.made...),
		FirstAt: watch.wall(c.firstAt), LastAt: watch.wall(c.lastAt),
	}
}

// RecordPage is a part of the record. NextAfter is 0 on the last page so far.
type RecordPage struct {
	Arrivals  []Arrival `json:"arrivals"`
	NextAfter int64     `json:"next_after,omitempty"`
	Dropped   int64     `json:"dropped"` // arrivals that are no longer remembered
}

// KeyPage is a part of what happened by idempotency key, in the order in which the keys came first.
type KeyPage struct {
	Keys      []KeyRecord `json:"keys"`
	NextAfter int64       `json:"next_after,omitempty"`
}

// Filter chooses arrivals; its zero value takes all.
type Filter struct {
	IdempotencyKey string
	Task           string
	Verdict        Verdict
}

func (f Filter) takes(a *Arrival) bool {
	return (f.IdempotencyKey == "" || f.IdempotencyKey == a.IdempotencyKey) && (f.Task == "" || f.Task == a.Task) &&
		(f.Verdict == "" || f.Verdict == a.Verdict)
}

// The bound on what one look through the record goes through, so that it does not stand in the way of requests for long.
const lookMax = 100_000

// Record gives up to limit arrivals after a number (0: from the beginning).
func (s *Server) Record(after int64, limit int, filter Filter) RecordPage {
	s.mu.Lock()
	defer s.mu.Unlock()
	page := RecordPage{Arrivals: []Arrival{}, Dropped: s.record.dropped}
	number := max(after+1, s.record.first)
	for looked := 0; ; number++ {
		a := s.record.at(number)
		if a == nil {
			return page
		}
		if looked++; len(page.Arrivals) == limit || looked > lookMax {
			page.NextAfter = number - 1
			return page
		}
		if filter.takes(a) {
			page.Arrivals = append(page.Arrivals, *a)
		}
	}
}

// Keys gives what happened under idempotency keys, of those with at least so many effects and so many arrivals.
func (s *Server) Keys(after int64, limit, effectsMin, arrivalsMin int) KeyPage {
	s.mu.Lock()
	defer s.mu.Unlock()
	page := KeyPage{Keys: []KeyRecord{}}
	row := max(after-s.callers.dropped, 0) + int64(s.callers.first)
	for looked := 0; row < int64(len(s.callers.order)); row++ {
		if looked++; len(page.Keys) == limit || looked > lookMax {
			page.NextAfter = row - int64(s.callers.first) + s.callers.dropped
			return page
		}
		known := s.callers.order[row]
		if known.isKey() && len(known.made) >= effectsMin && known.arrivals >= arrivalsMin {
			page.Keys = append(page.Keys, known.shown(s.watch))
		}
	}
	return page
}

// Key tells what happened under one idempotency key; false if it never came.
func (s *Server) Key(key string) (KeyRecord, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.callers.known[keyIdentity+key]
	if known == nil {
		return KeyRecord{}, false
	}
	return known.shown(s.watch), true
}
