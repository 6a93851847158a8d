package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kontorhq/kontor/client"
	"github.com/kontorhq/kontor/internal/app/importer"
)

// How long a batch is tried again when the API does not answer, or says that it cannot now.
const (
	sendPatience     = 5 * time.Minute
	sendPauseFirst   = 200 * time.Millisecond
	sendPauseLongest = 10 * time.Second
	sendUniqueFor    = 30 * 24 * time.Hour // how long a record is known
	tagBytesMax      = 100                 // of a tag, as the API has it
)

// taskSender queues the tasks of an import by the API.
type taskSender struct {
	api         *client.ClientWithResponses
	queue       string
	destination string
	priority    int32
	at          *time.Time // when the tasks are wanted; nil: at once
	tags        []string   // beside the import's name
}

// send queues a batch. The API takes all tasks of a request or none, so those that it refuses are left out of the next.
func (s *taskSender) send(ctx context.Context, batch []importer.Task) ([]importer.Result, error) {
	results := make([]importer.Result, len(batch))
	rest := make([]int, len(batch))
	for n := range rest {
		rest[n] = n
	}
	for len(rest) > 0 {
		requests := make([]client.TaskRequest, len(rest))
		for k, n := range rest {
			requests[k] = s.request(&batch[n])
		}
		answer, err := s.queueAll(ctx, requests)
		if err != nil {
			return nil, err
		}
		if answer.JSON200 == nil {
			if rest, err = refuse(rest, results, answer.ApplicationProblemJSONDefault); err != nil {
				return nil, err
			}
			continue
		}
		made := answer.JSON200.Tasks
		if len(made) != len(rest) {
			return nil, fmt.Errorf("%d tasks were sent, and %d came back", len(rest), len(made))
		}
		for k, n := range rest {
			results[n].Existed = made[k].Deduplicated
		}
		return results, nil
	}
	return results, nil
}

func (s *taskSender) request(t *importer.Task) client.TaskRequest {
	tags := append([]string{fmt.Sprintf("%.*s", tagBytesMax, t.Import)}, s.tags...)
	r := client.TaskRequest{
		Destination: s.destination, Queue: &s.queue, Priority: &s.priority, ScheduleTime: s.at, Tags: &tags,
		HTTPRequest: client.HTTPRequest{Method: client.HTTPMethod(t.Method), URL: t.Path},
		Name:        given(t.Name), UniqueKey: given(t.UniqueKey), LimitKey: given(t.LimitKey), OrderingKey: given(t.OrderingKey),
		FairnessKey: given(t.FairnessKey), SubjectType: given(t.SubjectType), SubjectID: given(t.SubjectID),
	}
	if t.UniqueKey != "" {
		seconds := int64(sendUniqueFor / time.Second)
		r.UniquePeriodSeconds = &seconds
	}
	if len(t.Headers) > 0 {
		r.HTTPRequest.Headers = &t.Headers
	}
	r.HTTPRequest.Body = given(string(t.Body))
	return r
}

// given is nil for what is empty.
func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// queueAll asks under one key until there is an answer that settles it. A later run asks under another: refusals are
// recorded too, and their reason may be gone by then.
func (s *taskSender) queueAll(ctx context.Context, requests []client.TaskRequest) (*client.CreateTaskBatchResponse, error) {
	body, err := json.Marshal(client.TaskBatchRequest{Tasks: requests})
	if err != nil {
		return nil, err
	}
	params := &client.CreateTaskBatchParams{IdempotencyKey: client.NewKey()}
	bounded, cancel := context.WithTimeout(ctx, sendPatience)
	defer cancel()
	for pause := sendPauseFirst; ; pause = min(2*pause, sendPauseLongest) {
		answer, err := s.api.CreateTaskBatchWithBodyWithResponse(bounded, params, "application/json", bytes.NewReader(body))
		if err == nil && !isForAMoment(answer.StatusCode()) {
			return answer, nil
		}
		if err == nil {
			err = refusedWith(answer.Status(), answer.ApplicationProblemJSONDefault)
			if seconds, e := strconv.Atoi(answer.HTTPResponse.Header.Get("Retry-After")); e == nil {
				pause = max(pause, min(time.Duration(seconds)*time.Second, sendPauseLongest))
			}
		}
		select {
		case <-time.After(pause):
		case <-bounded.Done():
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("the API has not taken it for %s: %w", sendPatience, err)
		}
	}
}

// isForAMoment tells whether the same request may be answered otherwise soon.
func isForAMoment(status int) bool {
	return status >= 500 && status != http.StatusNotImplemented || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

// refuse notes which tasks of a request the API refuses, and returns those that are left. What is wrong with the whole import is
// an error.
func refuse(sent []int, results []importer.Result, problem *client.Problem) ([]int, error) {
	if problem == nil || problem.Errors == nil {
		return nil, refusal(problem)
	}
	refused := map[int]bool{}
	for _, item := range *problem.Errors {
		k, param, ok := taskAt(item.Param)
		if !ok || k >= len(sent) || isOfAll(item.Code) {
			return nil, &client.Problem{Code: problem.Code, Detail: item.Detail, Param: item.Param}
		}
		refused[k] = true
		if results[sent[k]].Refused == "" {
			results[sent[k]].Refused = strings.TrimPrefix(param+": ", ": ") + item.Detail
		}
	}
	var rest []int
	for k, n := range sent {
		if !refused[k] {
			rest = append(rest, n)
		}
	}
	if len(rest) == len(sent) {
		return nil, problem
	}
	return rest, nil
}

// isOfAll tells whether what is wrong with one task is wrong with all of the import.
func isOfAll(code *string) bool {
	if code == nil {
		return false
	}
	switch *code {
	case "queue_not_found", "queue_draining", "destination_not_found":
		return true
	}
	return false
}

// taskAt reads /tasks/3/limit_key.
func taskAt(param *string) (n int, rest string, ok bool) {
	if param == nil {
		return 0, "", false
	}
	after, ok := strings.CutPrefix(*param, "/tasks/")
	number, rest, _ := strings.Cut(after, "/")
	n, err := strconv.Atoi(number)
	return n, rest, ok && err == nil && n >= 0
}
