package api

import (
	"context"
	"strconv"
	"strings"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/schedules"
)

// The lists that cursors belong to.
const (
	listOfPayments  = 'p'
	listOfAccounts  = 'a'
	listOfMovements = 'm'
	listOfEntries   = 'e'
	listOfEvents    = 'v'

	listOfQueues       = 'q'
	listOfDestinations = 'd'
	listOfTasks        = 't'
	listOfAttempts     = 'n'
	listOfLetters      = 'l'
	listOfGroups       = 'g'
	listOfSchedules    = 's'
	listOfReplays      = 'r'
	listOfCancellable  = 'c'
)

// position reads where a page begins and how long it is.
func position(list byte, cursor *string, limit *int32) (paging.Cursor, int, error) {
	after, err := paging.Decode(list, valueOf(cursor))
	if err != nil {
		return paging.Cursor{}, 0, invalid([]fault.Problem{{Param: "cursor", Detail: "is not one that this list gave out"}})
	}
	return after, paging.Limit(int(valueOf(limit))), nil
}

// subjectPrefix is the prefix of the ids of what events are about.
func subjectPrefix(aggregateType string) string {
	switch aggregateType {
	case "payment":
		return "pay"
	case "ledger_entry":
		return ledger.EntryPrefix
	case "ledger_account":
		return ledger.AccountPrefix
	case "schedule":
		return schedules.Prefix
	default:
		return aggregateType
	}
}

// ListEvents answers GET /v1/events.
func (s *Server) ListEvents(ctx context.Context, r ListEventsRequestObject) (ListEventsResponseObject, error) {
	after, limit, err := position(listOfEvents, r.Params.Cursor, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	filter := events.Filter{}
	if r.Params.Type != nil {
		filter.Types = []string{*r.Params.Type}
	}
	if r.Params.Subject != nil {
		prefix, _, _ := strings.Cut(*r.Params.Subject, "_")
		if filter.AggregateID, err = ids.Parse(prefix, *r.Params.Subject); err != nil {
			return nil, invalid([]fault.Problem{{Param: "subject", Detail: "is not an id"}})
		}
	}
	list, next, err := s.deps.Events.List(ctx, callOf(ctx).principal.OrgID, after, filter, limit)
	if err != nil {
		return nil, err
	}
	return eventPage(list, next, len(list) == limit || len(filter.Types) > 0 && next != after), nil
}

// eventPage always says where to go on: the log has no end.
func eventPage(list []events.Stored, next paging.Cursor, more bool) reply {
	out := []byte(`{"data":[`)
	for i := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendEvent(out, &list[i])
	}
	out = appendTextOrNull(append(out, `],"next_cursor":`...), next.Encode(listOfEvents))
	return ok(append(strconv.AppendBool(append(out, `,"has_more":`...), more), '}'))
}

func appendEvent(out []byte, e *events.Stored) []byte {
	out = append(append(out, `{"id":"`...), ids.Format("evt", e.ID)...)
	out = appendText(append(out, `","type":`...), []byte(e.Type))
	out = append(append(out, `,"subject":"`...), ids.Format(subjectPrefix(e.AggregateType), e.AggregateID)...)
	out = appendText(append(out, `","subject_type":`...), []byte(e.AggregateType))
	out = appendTime(append(out, `,"recorded_at":`...), e.RecordedAt)
	return append(append(append(out, `,"data":`...), e.Payload...), '}')
}
