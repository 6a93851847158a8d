package api

import "net/http"

// The operations on tasks and what belongs to them; see reply.go.

// VisitListDeadLettersResponse implements ListDeadLettersResponseObject.
func (r reply) VisitListDeadLettersResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitListDeadLetterGroupsResponse implements ListDeadLetterGroupsResponseObject.
func (r reply) VisitListDeadLetterGroupsResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitGetDeadLetterResponse implements GetDeadLetterResponseObject.
func (r reply) VisitGetDeadLetterResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitDiscardDeadLetterResponse implements DiscardDeadLetterResponseObject.
func (r reply) VisitDiscardDeadLetterResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitReplayDeadLetterResponse implements ReplayDeadLetterResponseObject.
func (r reply) VisitReplayDeadLetterResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitListDestinationsResponse implements ListDestinationsResponseObject.
func (r reply) VisitListDestinationsResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitCreateDestinationResponse implements CreateDestinationResponseObject.
func (r reply) VisitCreateDestinationResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitDeleteDestinationResponse implements DeleteDestinationResponseObject.
func (r reply) VisitDeleteDestinationResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitGetDestinationResponse implements GetDestinationResponseObject.
func (r reply) VisitGetDestinationResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitUpdateDestinationResponse implements UpdateDestinationResponseObject.
func (r reply) VisitUpdateDestinationResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitPauseDestinationResponse implements PauseDestinationResponseObject.
func (r reply) VisitPauseDestinationResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitResumeDestinationResponse implements ResumeDestinationResponseObject.
func (r reply) VisitResumeDestinationResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitConsumeLimitResponse implements ConsumeLimitResponseObject.
func (r reply) VisitConsumeLimitResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitListQueuesResponse implements ListQueuesResponseObject.
func (r reply) VisitListQueuesResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitCreateQueueResponse implements CreateQueueResponseObject.
func (r reply) VisitCreateQueueResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitDeleteQueueResponse implements DeleteQueueResponseObject.
func (r reply) VisitDeleteQueueResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitGetQueueResponse implements GetQueueResponseObject.
func (r reply) VisitGetQueueResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitUpdateQueueResponse implements UpdateQueueResponseObject.
func (r reply) VisitUpdateQueueResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitDrainQueueResponse implements DrainQueueResponseObject.
func (r reply) VisitDrainQueueResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitPauseQueueResponse implements PauseQueueResponseObject.
func (r reply) VisitPauseQueueResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitResumeQueueResponse implements ResumeQueueResponseObject.
func (r reply) VisitResumeQueueResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitCreateReplayResponse implements CreateReplayResponseObject.
func (r reply) VisitCreateReplayResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitGetReplayResponse implements GetReplayResponseObject.
func (r reply) VisitGetReplayResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitCancelReplayResponse implements CancelReplayResponseObject.
func (r reply) VisitCancelReplayResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitListTasksResponse implements ListTasksResponseObject.
func (r reply) VisitListTasksResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitCreateTaskResponse implements CreateTaskResponseObject.
func (r reply) VisitCreateTaskResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitCreateTaskBatchResponse implements CreateTaskBatchResponseObject.
func (r reply) VisitCreateTaskBatchResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitGetTaskResponse implements GetTaskResponseObject.
func (r reply) VisitGetTaskResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitListTaskAttemptsResponse implements ListTaskAttemptsResponseObject.
func (r reply) VisitListTaskAttemptsResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitCancelTaskResponse implements CancelTaskResponseObject.
func (r reply) VisitCancelTaskResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitRunTaskResponse implements RunTaskResponseObject.
func (r reply) VisitRunTaskResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitCancelTasksResponse implements CancelTasksResponseObject.
func (r reply) VisitCancelTasksResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitReplayTaskResponse implements ReplayTaskResponseObject.
func (r reply) VisitReplayTaskResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitListReplaysResponse implements ListReplaysResponseObject.
func (r reply) VisitListReplaysResponse(w http.ResponseWriter) error { return r.visit(w) }
