package sandbox

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/kontorhq/kontor/internal/kit/badserver"
)

// The header a client may tighten the bound with, and the one that marks a repeated answer.
const (
	headerDeadline = "Request-Deadline" // Unix milliseconds; the effect is not made after it
	headerKey      = "Idempotency-Key"
	headerReplayed = "Idempotent-Replayed"
)

// request is one request that may move money, read and checked.
type request struct {
	verb      verb
	reference string
	token     string // of a charge
	body      []byte
	make      func(now time.Time) answer // the effect; called with the book locked
}

// answer is what goes back. A kept one is repeated for its idempotency key.
type answer struct {
	status   int
	body     []byte
	kept     bool
	replayed bool
}

// perform takes a request through its faults to its effect and its answer.
func (s *Server) perform(w http.ResponseWriter, r *http.Request, req request) {
	faults := s.faults.Load()
	deadline, problem := s.deadline(r, faults.SettleWithin)
	if problem != nil {
		refuse(w, problem)
		return
	}
	s.book.mu.Lock()
	nth := s.book.send(req.verb, req.reference)
	s.book.mu.Unlock()
	p := faults.plan(req.verb, req.reference, nth, req.token)
	if p.slow {
		s.tally.add(slow)
	}
	switch p.fault {
	case rateLimited, errorBefore, resetBefore, hangBefore:
		badserver.Pause(s.stopped, p.delay)
		s.suffer(w, r, p.fault)
		return
	}
	if !badserver.Pause(s.stopped, p.delay) {
		panic(http.ErrAbortHandler) // the provider is being stopped: no effect, no answer
	}
	a := s.effect(r, req, deadline, faults.IgnoreIdempotencyKeys)
	badserver.Linger(r.Context(), s.stopped, p.tail)
	if p.fault != noFault {
		s.suffer(w, r, p.fault)
		return
	}
	if a.replayed {
		w.Header().Set(headerReplayed, "true")
	}
	reply(w, a.status, a.body)
}

// deadline is the last moment at which the effect may be made.
func (s *Server) deadline(r *http.Request, settleWithin time.Duration) (time.Time, *refusal) {
	bound := s.clock().Add(settleWithin)
	text := r.Header.Get(headerDeadline)
	if text == "" {
		return bound, nil
	}
	millis, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return bound, malformed("deadline_invalid", "Request-Deadline must be Unix milliseconds.")
	}
	if asked := time.UnixMilli(millis); asked.Before(bound) {
		return asked, nil
	}
	return bound, nil
}

// effect makes the effect once for its idempotency key, within the bound. One lock spans the look at the key, the
// effect and the keeping of the answer: of two requests at once with one key, the second finds the first's answer.
func (s *Server) effect(r *http.Request, req request, deadline time.Time, ignoreKeys bool) answer {
	key := r.Header.Get(headerKey)
	var fingerprint [32]byte
	if key != "" {
		fingerprint = sha256.Sum256(append([]byte(r.URL.Path+"\n"), req.body...))
	}
	s.book.mu.Lock()
	defer s.book.mu.Unlock()
	now := s.clock()
	s.book.advance(now)
	kept, found := s.book.answers[key]
	switch {
	case found && ignoreKeys:
		s.tally.add(keyIgnored)
	case found && kept.fingerprint != fingerprint:
		return refusalAnswer(unprocessable("idempotency_key_reused", "The idempotency key was used for another request."))
	case found:
		kept.answer.replayed = true
		return kept.answer
	}
	if now.After(deadline) {
		s.tally.add(tooLate)
		return refusalAnswer(&refusal{
			status: http.StatusServiceUnavailable, Code: "too_late",
			Message: "The request could not be served in time; nothing was done.",
		})
	}
	a := req.make(now)
	if key != "" && a.kept && !found {
		s.book.answers[key] = keptAnswer{fingerprint: fingerprint, answer: a}
	}
	return a
}

// suffer answers with a fault, or with none.
func (s *Server) suffer(w http.ResponseWriter, r *http.Request, kind faultKind) {
	s.tally.add(kind)
	switch kind {
	case rateLimited:
		w.Header().Set("Retry-After", "1")
		refuse(w, &refusal{status: http.StatusTooManyRequests, Code: "rate_limited", Message: "Too many requests."})
	case errorBefore, errorAfter:
		refuse(w, &refusal{status: http.StatusInternalServerError, Code: "internal", Message: "Something went wrong."})
	case resetBefore, resetAfter:
		badserver.Reset(w)
	case hangBefore, hangAfter:
		s.hang(r)
	}
}

// hang keeps the client waiting until it leaves, and at most 30 s.
func (s *Server) hang(r *http.Request) {
	badserver.Linger(r.Context(), s.stopped, hangMax)
	panic(http.ErrAbortHandler) // closes the connection without an answer, and without a line in the log
}

// shown makes an answer of a noun.
func shown(status int, noun any) answer {
	body, err := json.Marshal(noun)
	if err != nil {
		panic(err) // the nouns are structs of strings, integers and times: they marshal
	}
	return answer{status: status, body: body}
}

func refusalAnswer(why *refusal) answer { return shown(why.status, errorBody{Error: *why}) }

func refuse(w http.ResponseWriter, why *refusal) {
	a := refusalAnswer(why)
	reply(w, a.status, a.body)
}

func reply(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may have left; the effect stands
}
