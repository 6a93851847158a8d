package mockapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/kontorhq/kontor/internal/kit/badserver"
)

// drop ends a request by a broken connection.
func (s *Server) drop(v *visit) {
	s.leave(v, 0)
	badserver.Reset(v.w)
}

// sayWait says how long to wait, rounded up: whoever waits as long as that is not too early.
func (s *Server) sayWait(v *visit, wait time.Duration) {
	if s.cfg.RetryAfterStyle == StyleHTTPDate {
		at := s.watch.wall(s.watch.now() + wait + time.Second - 1).Truncate(time.Second)
		v.w.Header().Set("Retry-After", at.Format(http.TimeFormat))
		return
	}
	v.w.Header().Set("Retry-After", strconv.FormatInt(max(1, seconds(wait)), 10))
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// sayLimits says how each limit stands, as draft-ietf-httpapi-ratelimit-headers has it, and how the tightest stands, as
// most APIs say it.
func (s *Server) sayLimits(v *visit) {
	if len(v.passage.stands) == 0 || s.cfg.OmitLimitHeaders {
		return
	}
	var state []byte
	tightest := v.passage.stands[0]
	for i, stand := range v.passage.stands {
		if i > 0 {
			state = append(state, ", "...)
		}
		state = append(append(state, stand.name...), ";r="...)
		state = append(strconv.AppendInt(state, int64(stand.room.left), 10), ";t="...)
		state = strconv.AppendInt(state, seconds(stand.room.reset()), 10)
		if stand.room.left < tightest.room.left || stand.room.left == tightest.room.left && stand.room.wait > tightest.room.wait {
			tightest = stand
		}
	}
	reset := seconds(tightest.room.reset())
	if s.cfg.ResetStyle == StyleUnix {
		reset = s.watch.wall(s.watch.now() + tightest.room.reset() + time.Second - 1).Unix()
	}
	header := v.w.Header()
	header.Set("RateLimit-Policy", v.passage.policy)
	header.Set("RateLimit", string(state))
	header.Set("X-RateLimit-Limit", strconv.Itoa(tightest.count))
	header.Set("X-RateLimit-Remaining", strconv.Itoa(tightest.room.left))
	header.Set("X-RateLimit-Reset", strconv.FormatInt(reset, 10))
}

// reset is when there is more room: the next request's if there is none, else the whole limit's.
func (r room) reset() time.Duration {
	if r.left == 0 {
		return r.wait
	}
	return r.full
}
