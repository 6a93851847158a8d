package mockapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// controlPath is where the API is changed and tells the truth; requests to it are no arrivals.
const controlPath = "/_mock/"

// The bounds of requests and pages of the control.
const (
	controlBytesMax = 64 << 10
	pageDefault     = 100
	pageMax         = 10_000
)

func (s *Server) controlRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_mock/summary", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, s.Summary()) })
	mux.HandleFunc("GET /_mock/record", s.getRecord)
	mux.HandleFunc("GET /_mock/keys", s.getKeys)
	mux.HandleFunc("POST /_mock/reset", func(w http.ResponseWriter, _ *http.Request) {
		s.Reset()
		reply(w, http.StatusOK, s.Summary())
	})
	mux.HandleFunc("GET /_mock/limits", s.getLimits)
	mux.HandleFunc("PUT /_mock/limits", s.putLimits)
	mux.HandleFunc("GET /_mock/faults", s.getFaults)
	mux.HandleFunc("PUT /_mock/faults", s.putFaults)
	mux.HandleFunc("GET /_mock/auth", s.getAuth)
	mux.HandleFunc("PUT /_mock/auth", s.putAuth)
	mux.HandleFunc("POST /_mock/auth/revoke", func(w http.ResponseWriter, r *http.Request) {
		s.RevokeTokens()
		s.getAuth(w, r)
	})
	mux.HandleFunc("POST /_mock/down", s.postDown)
	mux.HandleFunc("POST /_mock/up", func(w http.ResponseWriter, _ *http.Request) {
		s.Up()
		reply(w, http.StatusOK, map[string]bool{"down": false})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuseControl(w, http.StatusNotFound, "not_found", "The control has GET summary, record, keys, limits, faults, auth; "+
			"PUT limits, faults, auth; POST reset, auth/revoke, down, up, each under "+controlPath+".")
	})
	return mux
}

func refuseControl(w http.ResponseWriter, status int, code, message string) {
	reply(w, status, refusalBody{refusal{Code: code, Message: message}})
}

// malformed answers 400 with everything that is wrong.
func malformed(w http.ResponseWriter, err error) {
	refuseControl(w, http.StatusBadRequest, "invalid", strings.ReplaceAll(err.Error(), "\n", "; "))
}

// numbers reads whole numbers of a query and reports all that are none.
type numbers struct {
	r        *http.Request
	problems []error
}

func (n *numbers) read(name string, otherwise, least, most int64) int64 {
	text := n.r.URL.Query().Get(name)
	if text == "" {
		return otherwise
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < least || value > most {
		n.problems = append(n.problems, fmt.Errorf("%s must be %d to %d", name, least, most))
	}
	return value
}

func (s *Server) getRecord(w http.ResponseWriter, r *http.Request) {
	n := numbers{r: r}
	after, limit := n.read("after", 0, 0, 1<<62), n.read("limit", pageDefault, 1, pageMax)
	if len(n.problems) > 0 {
		malformed(w, errors.Join(n.problems...))
		return
	}
	query := r.URL.Query()
	reply(w, http.StatusOK, s.Record(after, int(limit), Filter{
		IdempotencyKey: query.Get("idempotency_key"), Task: query.Get("task"), Verdict: Verdict(query.Get("verdict")),
	}))
}

func (s *Server) getKeys(w http.ResponseWriter, r *http.Request) {
	n := numbers{r: r}
	after, limit := n.read("after", 0, 0, 1<<62), n.read("limit", pageDefault, 1, pageMax)
	effectsMin, arrivalsMin := n.read("effects_min", 0, 0, 1<<30), n.read("arrivals_min", 0, 0, 1<<30)
	if len(n.problems) > 0 {
		malformed(w, errors.Join(n.problems...))
		return
	}
	reply(w, http.StatusOK, s.Keys(after, int(limit), int(effectsMin), int(arrivalsMin)))
}

// readJSON reads a body strictly.
func readJSON(r *http.Request, into any) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, controlBytesMax))
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

func (s *Server) getLimits(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	limits := s.gate.limits
	s.mu.Unlock()
	reply(w, http.StatusOK, limits)
}

// putLimits replaces all limits: what is left out has its default.
func (s *Server) putLimits(w http.ResponseWriter, r *http.Request) {
	var limits Limits
	err := readJSON(r, &limits)
	if err == nil {
		err = s.SetLimits(limits)
	}
	if err != nil {
		malformed(w, err)
		return
	}
	s.getLimits(w, r)
}

func (s *Server) getFaults(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	faults := s.faults
	s.mu.Unlock()
	reply(w, http.StatusOK, faults)
}

// putFaults changes the profile: a JSON object, a JSON string, or plain text as ParseFaults reads it.
func (s *Server) putFaults(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, controlBytesMax))
	var f Faults
	if err == nil {
		err = f.UnmarshalJSON(body)
	}
	if err == nil {
		err = s.SetFaults(f)
	}
	if err != nil {
		malformed(w, err)
		return
	}
	s.getFaults(w, r)
}

// getAuth tells the kind of credential that is demanded, never the credential.
func (s *Server) getAuth(w http.ResponseWriter, _ *http.Request) {
	auth := s.credentials()
	shown := map[string]any{"kind": auth.Kind, "tokens_issued": auth.tokens.count()}
	if auth.Kind == "" {
		shown["kind"] = AuthNone
	}
	if auth.Kind == AuthOAuth2 {
		shown["token_ttl_seconds"] = auth.TokenTTLSeconds
	}
	reply(w, http.StatusOK, shown)
}

func (s *Server) putAuth(w http.ResponseWriter, r *http.Request) {
	var auth Auth
	err := readJSON(r, &auth)
	if err == nil {
		err = s.SetAuth(auth)
	}
	if err != nil {
		malformed(w, err)
		return
	}
	s.getAuth(w, r)
}

// postDown makes the API be down: {"how": "503" or "reset", "for": "5s"}, both of which may be left out.
func (s *Server) postDown(w http.ResponseWriter, r *http.Request) {
	in := struct {
		How string `json:"how"`
		For string `json:"for"`
	}{How: downAnswer, For: "0s"}
	err := readJSON(r, &in)
	lasts, errFor := time.ParseDuration(in.For)
	if errFor != nil || lasts < 0 {
		err = errors.Join(err, fmt.Errorf("for: want a time such as 5s, not %q", in.For))
	}
	if in.How != downAnswer && in.How != downReset {
		err = errors.Join(err, fmt.Errorf("how: want 503 or reset, not %q", in.How))
	}
	if err != nil {
		malformed(w, err)
		return
	}
	s.Down(in.How == downReset, lasts)
	reply(w, http.StatusOK, map[string]any{"down": true, "how": in.How, "for": in.For})
}
