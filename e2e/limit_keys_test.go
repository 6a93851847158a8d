package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/app/mockapi"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// The third party counts each tenant by itself, and bears less than is configured. The tenant that it turns away waits; the
// others do not, no attempt is used up, and the destination is neither paused nor slowed.
func TestATenantThatIsTurnedAwayHoldsUpNobodyElse(t *testing.T) {
	third := careful(2 * time.Millisecond)
	third.Limits = mockapi.Limits{Limits: []mockapi.Limit{{Count: 4, Period: time.Second, Per: "header:X-Tenant"}}}
	w := newWitness(t, third)
	w.destination(w.program, api, destinations.Settings{
		BaseURL:    w.mock.URL(),
		RateLimits: []destinations.RateLimit{{Name: "tenant", Limit: 100, PeriodSeconds: 1, Per: destinations.PerLimitKey}},
	})
	w.serve("a")
	w.serve("b")
	const noisy, tenants, each = 16, 15, 3
	w.enqueue(w.program, w.ofTenant("noisy", noisy))
	var why tasks.Waiting
	w.eventually("the noisy tenant is held", func() bool {
		var id ids.ID
		err := w.db.Pool().QueryRow(w.Context(), `select task_id from task_live where state = 'available' order by task_id desc limit 1`).Scan(&id)
		if err != nil {
			return false
		}
		_, why, _, err = w.tasks.Explain(w.Context(), w.org, id)
		return err == nil && why.For == tasks.WaitsForDestination
	})
	if why.HeldBy != "retry_after" || why.Limit != "destination/api/noisy" || why.Until.IsZero() {
		t.Errorf("%+v", why)
	}
	for i := range tenants {
		w.enqueue(w.program, w.ofTenant(fmt.Sprint("quiet-", i), each))
	}
	w.settled()
	for what, c := range map[string]struct {
		sql  string
		want int
	}{
		"tasks that did not succeed": {`select count(*) from task k where not exists (
			select from task_attempt a where a.org_id = k.org_id and a.task_id = k.id and a.outcome = 'succeeded')`, 0},
		"attempts of quiet tenants": {`select count(*) from task k join task_attempt a on a.org_id = k.org_id and a.task_id = k.id
			where k.limit_key <> 'noisy'`, tenants * each},
		"attempts that count against the policy":  {`select count(*) from task_attempt where outcome not in ('succeeded', 'rate_limited', 'held')`, 0},
		"destinations that were paused or slowed": {`select count(*) from destination_state where limited_until is not null or learned_at is not null`, 0},
		"keys that were held":                     {`select count(*) from destination_limited_key`, 1},
	} {
		if n := w.count(c.sql); n != c.want {
			t.Errorf("%s: %d, not %d", what, n, c.want)
		}
	}
	if s := w.mock.Summary(); s.Refused == 0 || s.Effects != noisy+tenants*each || s.DuplicateEffects != 0 {
		t.Errorf("%+v", s)
	}
}

// ofTenant is calls of one tenant, each of which may be attempted once.
func (w *witness) ofTenant(name string, n int) []tasks.Spec {
	w.Helper()
	args, err := json.Marshal(tasks.HTTPArgs{Request: tasks.HTTPRequest{Method: http.MethodPost, URL: "/records", Headers: map[string]string{"X-Tenant": name}}})
	if err != nil {
		w.Fatal(err)
	}
	specs := make([]tasks.Spec, n)
	for i := range specs {
		specs[i] = tasks.Spec{
			OrgID: w.org, Kind: tasks.KindHTTP, Destination: api, Args: args, LimitKey: name, FairnessKey: name, Retry: []byte(`{"max_attempts":1}`),
		}
	}
	return specs
}
