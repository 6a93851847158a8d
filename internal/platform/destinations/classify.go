package destinations

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/kontorhq/kontor/internal/kit/egress"
)

// Class is what an answer means for the task that asked.
type Class string

// The classes.
const (
	ClassSucceeded   Class = "succeeded"
	ClassRetry       Class = "retry"        // may go well another time
	ClassDeadLetter  Class = "dead_letter"  // will never go well
	ClassHold        Class = "hold"         // the credentials are refused: nothing more is sent until somebody has acted
	ClassRateLimited Class = "rate_limited" // turned away before anything was done; come back after RetryAfter
	ClassUnknown     Class = "unknown"      // something was sent and no answer came: it may have been done

	// classEverybodyLimited is what a Classifier calls being turned away, where it is not for the rate of the request's limit key
	// but for that of all. It comes out as ClassRateLimited.
	classEverybodyLimited Class = "destination_rate_limited"
)

// classes lists them.
func classes() []Class {
	return []Class{ClassSucceeded, ClassRetry, ClassDeadLetter, ClassHold, ClassRateLimited, ClassUnknown, classEverybodyLimited}
}

// failures that a Classifier may speak about: those after which something may have been done. Before that, all are
// tried again.
func classifiedFailures() []egress.Failure {
	return []egress.Failure{egress.FailureTimeout, egress.FailureBroken, egress.FailureMalformed}
}

// classify says what an answer means. A 2xx whose body broke off is unknown: who asked has not got its answer.
func classify(c Classifier, sent egress.Sent, status int, failure egress.Failure, a Advice) Class {
	switch {
	case sent == egress.SentNo && failure == egress.FailureRequest:
		return ClassDeadLetter
	case failure == egress.FailureCertificate:
		return ClassHold
	case sent == egress.SentNo:
		return ClassRetry
	case failure != "" && (status == 0 || status >= 200 && status <= 299):
		if class, ok := c[string(failure)]; ok {
			return class
		}
		return ClassUnknown
	}
	if class, ok := c[strconv.Itoa(status)]; ok {
		return class
	}
	if class, ok := c[strconv.Itoa(status/100)+"xx"]; ok {
		return class
	}
	return classifyStatus(status, a)
}

func classifyStatus(status int, a Advice) Class {
	switch {
	case status >= 200 && status <= 299:
		return ClassSucceeded
	case status == http.StatusTooManyRequests:
		return ClassRateLimited
	case (status == http.StatusServiceUnavailable || status == http.StatusForbidden) && (a.RetryAfter > 0 || a.Exhausted):
		return ClassRateLimited // some say 403 where others say 429
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return ClassHold
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return ClassRetry
	case status == http.StatusNotImplemented:
		return ClassDeadLetter
	case status >= 500:
		return ClassRetry
	default: // a redirect leads elsewhere every time, and a request that is wrong stays wrong
		return ClassDeadLetter
	}
}

// ofMethod is the class, but unknown for what only reads: that cannot have done anything, and may be asked again.
func (c Class) ofMethod(method string) Class {
	if c == ClassUnknown && (method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions) {
		return ClassRetry
	}
	return c
}

// errorCode names what went wrong, in a closed set of words; it is empty for what went well.
func errorCode(class Class, status int, failure egress.Failure) string {
	switch {
	case failure != "":
		return string(failure)
	case class == ClassSucceeded:
		return ""
	default:
		return fmt.Sprintf("http_%d", status)
	}
}
