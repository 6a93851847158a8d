package api

import "net/http"

// The operations on schedules; see reply.go.

// VisitListSchedulesResponse implements ListSchedulesResponseObject.
func (r reply) VisitListSchedulesResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitCreateScheduleResponse implements CreateScheduleResponseObject.
func (r reply) VisitCreateScheduleResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitPreviewRuleResponse implements PreviewRuleResponseObject.
func (r reply) VisitPreviewRuleResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitDeleteScheduleResponse implements DeleteScheduleResponseObject.
func (r reply) VisitDeleteScheduleResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitGetScheduleResponse implements GetScheduleResponseObject.
func (r reply) VisitGetScheduleResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitUpdateScheduleResponse implements UpdateScheduleResponseObject.
func (r reply) VisitUpdateScheduleResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitPauseScheduleResponse implements PauseScheduleResponseObject.
func (r reply) VisitPauseScheduleResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitResumeScheduleResponse implements ResumeScheduleResponseObject.
func (r reply) VisitResumeScheduleResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitRunScheduleResponse implements RunScheduleResponseObject.
func (r reply) VisitRunScheduleResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitPreviewScheduleResponse implements PreviewScheduleResponseObject.
func (r reply) VisitPreviewScheduleResponse(w http.ResponseWriter) error { return r.visit(w) }
