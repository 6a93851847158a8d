package destinations

import (
	"slices"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/prooftest"
)

func TestDamagedDestinationsAreReported(t *testing.T) {
	h := newHouse(t)
	h.create("api", func(s *Settings) { s.Auth = Auth{Type: AuthBearer, Token: "env:SECRET_X"} })
	h.create("other", func(s *Settings) {
		s.Auth = Auth{Type: AuthOAuth2, TokenURL: "https://id.example", ClientID: "me", ClientSecret: "env:SECRET_X"}
	})
	e := h.entry(h.Destinations, "other")
	for range 10 {
		e.Learn(e.Begin(""), answer(ClassRetry, 500))
	}
	e.Learn(e.Begin(""), answer(ClassRateLimited, 429, after(time.Hour)))
	h.refresh(h.Destinations)
	h.closed(HeldByRetryAfter, e)
	for _, c := range []struct {
		name, damage string
		want         []string
	}{
		{"none", "", nil},
		{"a state that is gone", `delete from destination_state s using destination d where d.id = s.destination_id and d.name = 'api'`, []string{"destinations.state.there"}},
		{"a secret itself", `update destination set auth = jsonb_set(auth, '{token}', '"sk_live_4242"') where name = 'api'`, []string{"destinations.secrets.referenced"}},
		{"a client's secret itself", `update destination set auth = jsonb_set(auth, '{client_secret}', '"file:x"') where name = 'other'`, []string{"destinations.secrets.referenced"}},
		{
			"more failures than requests", `update destination_state s set breaker_failures = 3, breaker_requests = 2 from destination d
			where d.id = s.destination_id and d.name = 'api'`, []string{"destinations.breaker.possible"},
		},
		{"a creation that is not told", `delete from event where type = 'destination.created' and payload ->> 'name' = 'api'`, []string{"destinations.events.complete"}},
		{"a change that is not told", `update destination set version = version + 1 where name = 'api'`, []string{"destinations.events.complete"}},
		{"an end that is not told", `delete from destination where name = 'api'`, []string{"destinations.events.complete"}},
		{"closed without closing", `update destination_state set breaker = 'closed' where breaker = 'open'`, []string{"destinations.breaker.possible"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := prooftest.Failing(t, h.db, Proof(), c.damage); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
