package destinations

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// stored is a destination with its state as rows have them.
type stored struct {
	d                                         Destination
	auth, limits, breaker, classifier, redact []byte
	tls                                       []byte
	position                                  string
	pausedUntil, limitedUntil, authHeldAt     *time.Time
	windowAt, openUntil, learnedAt, ceilingAt *time.Time
}

// fields are where a row goes, in the order of the columns that all reads of whole destinations have.
func (s *stored) fields() []any {
	d := &s.d
	return append([]any{
		&d.OrgID, &d.ID, &d.Name, &d.BaseURL, &s.auth, &s.limits, &d.MaxConcurrentDispatches, &d.TimeoutSeconds, &s.breaker,
		&s.classifier, &s.redact, &d.AllowPrivateNetworks, &d.AllowAbsoluteURLs, &d.MaxResponseBytes, &s.tls,
		&d.CloudTasksHeaders, &d.Version, &d.CreatedAt, &d.UpdatedAt,
	}, s.stateFields()...)
}

func (s *stored) stateFields() []any {
	state := &s.d.State
	b := &state.Breaker
	return []any{
		&state.Revision, &state.Pause.Active, &s.pausedUntil, &state.Pause.Reason, &s.limitedUntil, &s.authHeldAt, &state.Auth.Mark,
		&s.position, &b.Spell, &s.windowAt, &b.Requests, &b.Failures, &s.openUntil, &b.Openings, &b.Successes,
		&state.Learned.Permille, &s.learnedAt, &state.Learned.Ceiling, &s.ceilingAt, &state.LastError,
	}
}

// destination makes the noun of a row that was read.
func (s *stored) destination() (Destination, error) {
	for _, part := range []struct {
		raw  []byte
		into any
	}{
		{s.auth, &s.d.Auth},
		{s.limits, &s.d.RateLimits},
		{s.breaker, &s.d.CircuitBreaker},
		{s.classifier, &s.d.Classifier},
		{s.redact, &s.d.Redact},
		{s.tls, &s.d.TLS},
	} {
		if err := json.Unmarshal(part.raw, part.into); err != nil {
			return s.d, fmt.Errorf("read the settings of the destination %s: %w", s.d.Name, err)
		}
	}
	s.d.CreatedAt, s.d.UpdatedAt, s.d.State = s.d.CreatedAt.UTC(), s.d.UpdatedAt.UTC(), s.state()
	return s.d, nil
}

// withBreaker makes of a row what counts for its state.
func (s *stored) withBreaker() (Destination, error) {
	if err := json.Unmarshal(s.breaker, &s.d.CircuitBreaker); err != nil {
		return s.d, fmt.Errorf("read the breaker of the destination %s: %w", s.d.Name, err)
	}
	s.d.State = s.state()
	return s.d, nil
}

func (s *stored) state() State {
	state := s.d.State
	state.Pause.Until, state.LimitedUntil, state.Auth.HeldAt = moment(s.pausedUntil), moment(s.limitedUntil), moment(s.authHeldAt)
	state.Breaker.Position = BreakerPosition(s.position)
	state.Breaker.WindowAt, state.Breaker.OpenUntil = moment(s.windowAt), moment(s.openUntil)
	if state.Learned.At = moment(s.learnedAt); state.Learned.At.IsZero() {
		state.Learned.Permille = 0
	}
	state.Learned.CeilingAt = moment(s.ceilingAt)
	return state
}

func collect(rows pgx.Rows) ([]Destination, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Destination, error) {
		var s stored
		if err := row.Scan(s.fields()...); err != nil {
			return Destination{}, err
		}
		return s.destination()
	})
}

func moment(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// settingsJSON is what of the settings is stored as JSON.
type settingsJSON struct{ auth, limits, breaker, classifier, redact, tls []byte }

func encodeSettings(s Settings) (out settingsJSON, err error) {
	for _, part := range []struct {
		into *[]byte
		from any
	}{
		{&out.auth, s.Auth},
		{&out.limits, s.RateLimits},
		{&out.breaker, s.CircuitBreaker},
		{&out.classifier, s.Classifier},
		{&out.redact, s.Redact},
		{&out.tls, s.TLS},
	} {
		if *part.into, err = json.Marshal(part.from); err != nil {
			return out, fmt.Errorf("write the settings of a destination: %w", err)
		}
	}
	return out, nil
}

// stateColumns are states as the arrays of a batch.
type stateColumns struct {
	orgs, ids                                                                        []ids.ID
	revisions, spells, requests, failures, openings, successes, permille, ceilings   []int64
	paused                                                                           []bool
	pausedUntil, limitedUntil, authHeldAt, windowAt, openUntil, learnedAt, ceilingAt []*time.Time
	pauseReasons, marks, positions, lastErrors                                       []string
}

func (c *stateColumns) add(d *Destination) {
	s := d.State
	c.orgs, c.ids = append(c.orgs, d.OrgID), append(c.ids, d.ID)
	c.revisions = append(c.revisions, s.Revision)
	c.paused, c.pausedUntil, c.pauseReasons = append(c.paused, s.Pause.Active), append(c.pausedUntil, optional(s.Pause.Until)), append(c.pauseReasons, s.Pause.Reason)
	c.limitedUntil = append(c.limitedUntil, optional(s.LimitedUntil))
	c.authHeldAt, c.marks = append(c.authHeldAt, optional(s.Auth.HeldAt)), append(c.marks, s.Auth.Mark)
	b := s.Breaker
	c.positions, c.spells, c.windowAt = append(c.positions, string(b.Position)), append(c.spells, b.Spell), append(c.windowAt, optional(b.WindowAt))
	c.requests, c.failures, c.openUntil = append(c.requests, b.Requests), append(c.failures, b.Failures), append(c.openUntil, optional(b.OpenUntil))
	c.openings, c.successes = append(c.openings, b.Openings), append(c.successes, b.Successes)
	permille := s.Learned.Permille
	if s.Learned.At.IsZero() {
		permille = wholeShare
	}
	c.permille, c.learnedAt = append(c.permille, permille), append(c.learnedAt, optional(s.Learned.At))
	c.ceilings, c.ceilingAt = append(c.ceilings, s.Learned.Ceiling), append(c.ceilingAt, optional(s.Learned.CeilingAt))
	c.lastErrors = append(c.lastErrors, s.LastError)
}

const updateStatesSQL = `
	update destination_state s
	set revision = w.revision, paused = w.paused, paused_until = w.paused_until, pause_reason = w.pause_reason,
		limited_until = w.limited_until, auth_held_at = w.auth_held_at, auth_mark = w.auth_mark, breaker = w.breaker,
		breaker_spell = w.breaker_spell, breaker_window_at = w.breaker_window_at, breaker_requests = w.breaker_requests,
		breaker_failures = w.breaker_failures, breaker_open_until = w.breaker_open_until, breaker_openings = w.breaker_openings,
		breaker_successes = w.breaker_successes, learned_permille = w.learned_permille, learned_at = w.learned_at,
		learned_ceiling = w.learned_ceiling, learned_ceiling_at = w.learned_ceiling_at, last_error = w.last_error
	from (
		select unnest($1::uuid[]) as org_id, unnest($2::uuid[]) as destination_id, unnest($3::bigint[]) as revision,
			unnest($4::boolean[]) as paused, unnest($5::timestamptz[]) as paused_until, unnest($6::text[]) as pause_reason,
			unnest($7::timestamptz[]) as limited_until, unnest($8::timestamptz[]) as auth_held_at, unnest($9::text[]) as auth_mark,
			unnest($10::text[]) as breaker, unnest($11::bigint[]) as breaker_spell, unnest($12::timestamptz[]) as breaker_window_at,
			unnest($13::bigint[]) as breaker_requests, unnest($14::bigint[]) as breaker_failures,
			unnest($15::timestamptz[]) as breaker_open_until, unnest($16::bigint[]) as breaker_openings,
			unnest($17::bigint[]) as breaker_successes, unnest($18::bigint[]) as learned_permille,
			unnest($19::timestamptz[]) as learned_at, unnest($20::bigint[]) as learned_ceiling,
			unnest($21::timestamptz[]) as learned_ceiling_at, unnest($22::text[]) as last_error
	) as w
	where s.org_id = w.org_id and s.destination_id = w.destination_id`

// queueStates writes states that were locked.
func queueStates(b *pgx.Batch, list []Destination) {
	var c stateColumns
	for i := range list {
		c.add(&list[i])
	}
	b.Queue(updateStatesSQL, c.orgs, c.ids, c.revisions, c.paused, c.pausedUntil, c.pauseReasons, c.limitedUntil, c.authHeldAt, c.marks,
		c.positions, c.spells, c.windowAt, c.requests, c.failures, c.openUntil, c.openings, c.successes, c.permille, c.learnedAt, c.ceilings, c.ceilingAt, c.lastErrors)
}
