package mockapi

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/badserver"
)

// The headers that are read, and the one that marks a repeated answer.
const (
	headerKey        = "Idempotency-Key"
	headerTask       = "X-Kontor-TaskName"
	headerRetryCount = "X-Kontor-TaskRetryCount"
	headerReplayed   = "Idempotent-Replayed"
)

// What bounds a request's body, of which nothing is kept but its hash, and the reading of it.
const (
	bodyBytesMax    = 64 << 20
	bodyBufferBytes = 4 << 10 // most bodies are small
)

// visit is one request on its way.
type visit struct {
	w        http.ResponseWriter
	r        *http.Request
	number   int64
	key      string
	identity string
	nth      int // how many requests of the identity have come, with this one
	passage  passage
	outage   string
	faults   Faults
	auth     credentials
	body     Hash
	bytes    int64
	path     string // without an override
	plan     plan
	era      int   // how many resets there were when it came
	made     int64 // the effect it has made
	found    int64 // the effect that was there
	left     bool  // it does not count as under way any more
}

// visit takes a request through the gate to its effect and its end.
func (s *Server) visit(w http.ResponseWriter, r *http.Request) {
	v := &visit{w: w, r: r, key: r.Header.Get(headerKey)}
	s.arrive(v)
	defer s.leave(v, 0)
	switch {
	case v.outage == downReset:
		s.drop(v)
	case v.outage == downAnswer:
		s.refuse(v, http.StatusServiceUnavailable, "down", "The API is down because it was told to be.")
	case v.passage.verdict == Refused:
		s.sayWait(v, v.passage.wait)
		s.refuse(v, http.StatusTooManyRequests, "rate_limited", "Too many requests: wait as long as Retry-After says.")
	case v.passage.verdict == Crowded:
		s.sayWait(v, time.Second)
		s.refuse(v, s.crowdedStatus(), "too_many_at_once", "Too many requests at once.")
	default:
		s.admit(v)
	}
}

func (s *Server) crowdedStatus() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gate.limits.CrowdedStatus
}

// arrive gives the request its number and its moment, takes it through the gate, and writes it down.
func (s *Server) arrive(v *visit) {
	a := Arrival{
		Method: v.r.Method, Path: strings.Clone(v.r.URL.Path), IdempotencyKey: strings.Clone(v.key),
		Task: strings.Clone(v.r.Header.Get(headerTask)), RetryCount: strings.Clone(v.r.Header.Get(headerRetryCount)),
	}
	v.identity = identity(v.key, a.Task, a.Method, a.Path)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.watch.now()
	s.number++
	v.number, v.era = s.number, s.era
	if s.outage.until > 0 && now >= s.outage.until {
		s.outage = outage{}
	}
	v.outage, v.faults, v.auth = s.outage.how, s.faults, s.auth
	if v.outage != "" {
		v.passage.verdict = Down
	} else {
		v.passage = s.gate.pass(v.r, now, s.underWay)
	}
	s.underWay++
	known := s.callers.arrived(v.identity, now)
	v.nth = known.arrivals
	a.Number, a.At, a.AtNanoseconds, a.Verdict = v.number, s.watch.wall(now), int64(now), v.passage.verdict
	s.record.add(a)
	s.total.arrived(now, known, s.underWay)
	s.total.verdicts[a.Verdict]++
}

// leave ends the request in the record and among those under way. Only the first call counts.
func (s *Server) leave(v *visit, status int) {
	if v.left {
		return
	}
	v.left = true
	s.mu.Lock()
	defer s.mu.Unlock()
	s.underWay--
	if a := s.record.at(v.number); a != nil {
		a.Status, a.EndNanoseconds = status, int64(s.watch.now())
	}
}

// turn changes the verdict on a request that the gate has let through.
func (s *Server) turn(v *visit, verdict Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.era != s.era {
		return // the record was emptied meanwhile, and its counts with it
	}
	s.total.verdicts[v.passage.verdict]--
	s.total.verdicts[verdict]++
	if a := s.record.at(v.number); a != nil {
		a.Verdict = verdict
	}
}

// admit takes a request that the gate has let through.
func (s *Server) admit(v *visit) {
	problem := s.readBody(v)
	if problem != nil {
		s.turn(v, Invalid)
		s.refuse(v, problem.status, problem.Code, problem.Message)
		return
	}
	if why := v.auth.check(v.r, s.watch); why != "" {
		s.turn(v, Unauthorised)
		v.w.Header().Set("WWW-Authenticate", v.auth.challenge())
		s.refuse(v, http.StatusUnauthorized, "unauthorised", why)
		return
	}
	path, asked, err := readOverride(v.r, v.faults.HangFor)
	if err != nil {
		s.turn(v, Invalid)
		s.refuse(v, http.StatusBadRequest, "override_invalid", err.Error())
		return
	}
	v.path, v.plan = path, v.faults.plan(v.identity, v.nth)
	if asked.given {
		v.plan = plan{}
		if asked.times == 0 || v.nth <= asked.times {
			v.plan = asked.plan
		}
	}
	s.perform(v)
}

// perform makes the effect, lets the latency pass, and answers or not.
func (s *Server) perform(v *visit) {
	p := &v.plan
	if !badserver.Pause(s.stopped, p.late) {
		s.drop(v) // the server is being closed: no effect, no answer
		return
	}
	reused := s.makeEffect(v)
	badserver.Linger(v.r.Context(), s.stopped, p.delay)
	switch p.ending {
	case endDrop:
		s.drop(v)
		return
	case endHang:
		badserver.Linger(v.r.Context(), s.stopped, p.hangFor)
		s.drop(v)
		return
	}
	if p.retryAfter > 0 {
		s.sayWait(v, p.retryAfter)
	}
	switch {
	case reused:
		s.refuse(v, http.StatusUnprocessableEntity, "idempotency_key_reused", "The idempotency key was used for another request.")
	case p.status >= 300:
		s.refuse(v, p.status, "asked_for", "This answer was asked for, or drawn by the fault profile.")
	case v.r.Method == http.MethodGet && strings.HasPrefix(v.path, recordsPath):
		s.lookUp(v, strings.TrimPrefix(v.path, recordsPath))
	default:
		s.answer(v, max(p.status, http.StatusOK))
	}
}

// hasEffect tells whether requests of the method do something.
func hasEffect(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return false
	}
	return true
}

// makeEffect makes the effect once for its idempotency key, and says whether that was used for another request. One lock
// spans the look at the key and the effect: of two requests at once with one key, the second finds the first's effect.
func (s *Server) makeEffect(v *visit) (reused bool) {
	asked := sha256.Sum256([]byte(v.r.Method + "\n" + v.r.URL.RequestURI() + "\n" + string(v.body[:])))
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.record.at(v.number)
	if v.plan.fault != "" {
		s.total.faults[v.plan.fault]++
		if a != nil {
			a.Fault = v.plan.fault
		}
	}
	if v.plan.effect == effectNone || v.plan.effect == effectDue && !hasEffect(v.r.Method) {
		return false
	}
	known := s.callers.known[v.identity]
	if known == nil { // forgotten since it arrived
		known = &caller{identity: v.identity}
	}
	hash := Hash(asked)
	if v.key != "" && len(known.made) > 0 && v.plan.effect != effectAgain && !s.cfg.IgnoreIdempotencyKeys {
		if *known.asked != hash {
			s.total.reused++
			return true
		}
		v.found = known.made[0]
		s.total.replayed++
	} else {
		s.effect++
		v.made = s.effect
		s.total.effects++
		if v.key != "" && len(known.made) > 0 {
			s.total.duplicates++
		}
		if len(known.made) < effectsMax {
			known.made = append(known.made, v.made)
		}
		if known.asked == nil {
			known.asked = &hash
		}
	}
	if a != nil {
		a.Effect, a.Replayed = v.made, v.found
	}
	return false
}

// effectsMax bounds the effects of one key that are remembered by number; all of them are counted.
const effectsMax = 1000

// readBody hashes the body without keeping it.
func (s *Server) readBody(v *visit) *refusal {
	digest := sha256.New()
	into := io.Writer(digest)
	v.auth.begin(v.r)
	if v.auth.signing != nil {
		into = io.MultiWriter(digest, v.auth.signing)
	}
	var err error
	v.bytes, err = io.CopyBuffer(into, io.LimitReader(v.r.Body, bodyBytesMax+1), make([]byte, bodyBufferBytes))
	digest.Sum(v.body[:0])
	s.mu.Lock()
	if a := s.record.at(v.number); a != nil {
		a.BodySHA256, a.BodyBytes = v.body, v.bytes
	}
	s.mu.Unlock()
	switch {
	case err != nil:
		return &refusal{status: http.StatusBadRequest, Code: "body_unreadable", Message: "The body ended early."}
	case v.bytes > bodyBytesMax:
		return &refusal{status: http.StatusRequestEntityTooLarge, Code: "body_too_large", Message: fmt.Sprintf("A body may have %d bytes.", bodyBytesMax)}
	}
	return nil
}

// recordsPath is where a client looks up what became of an idempotency key.
const recordsPath = "/records/"

// lookUp answers what was done under an idempotency key: 404 if nothing was.
func (s *Server) lookUp(v *visit, key string) {
	found, ok := s.Key(key)
	if !ok || len(found.Effects) == 0 {
		s.refuse(v, http.StatusNotFound, "record_not_found", "Nothing was done under this idempotency key.")
		return
	}
	s.send(v, http.StatusOK, found)
}

// answered is the body of an answer to a request that went well.
type answered struct {
	Request        int64      `json:"request"` // the number of the arrival
	Method         string     `json:"method"`
	Path           string     `json:"path"`
	Query          url.Values `json:"query,omitempty"`
	IdempotencyKey string     `json:"idempotency_key,omitempty"`
	Effect         int64      `json:"effect,omitempty"` // its number: the same for the same key
	Replayed       bool       `json:"replayed"`
}

func (s *Server) answer(v *visit, status int) {
	if v.found > 0 {
		v.w.Header().Set(headerReplayed, "true")
	}
	s.send(v, status, answered{
		Request: v.number, Method: v.r.Method, Path: v.path, Query: v.r.URL.Query(), IdempotencyKey: v.key,
		Effect: max(v.made, v.found), Replayed: v.found > 0,
	})
}

// refuse answers with a reason.
func (s *Server) refuse(v *visit, status int, code, message string) {
	s.send(v, status, refusalBody{refusal{Code: code, Message: message}})
}

// send ends the visit and writes the answer, in this order: whoever has the answer may send the next request.
func (s *Server) send(v *visit, status int, noun any) {
	s.sayLimits(v)
	s.leave(v, status)
	if status == http.StatusNoContent || status == http.StatusNotModified {
		v.w.WriteHeader(status)
		return
	}
	reply(v.w, status, noun)
}

// refusal is why something is not done, as {"error": …}.
type refusal struct {
	status  int
	Code    string `json:"code"`
	Message string `json:"message"`
}

type refusalBody struct {
	Error refusal `json:"error"`
}

func reply(w http.ResponseWriter, status int, noun any) {
	body, err := json.Marshal(noun)
	if err != nil {
		panic(err) // the nouns are structs of strings, integers and times: they marshal
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may have left; the effect stands
}
