package api

import (
	"strconv"
	"strings"
	"time"
)

// waitMax bounds how long a caller may ask to wait for a provider.
const waitMax = 30 * time.Second

// waitOf reads how long a caller wants to wait (RFC 7240): respond-async not at all, wait=N at most N seconds. With both,
// the wait counts, as the RFC has it. Preferences that are unknown or malformed are ignored.
func waitOf(prefer *string, standard time.Duration) time.Duration {
	if prefer == nil {
		return standard
	}
	wait := standard
	for preference := range strings.SplitSeq(*prefer, ",") {
		preference, _, _ = strings.Cut(preference, ";")
		name, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "wait":
			seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
			if err == nil {
				return min(time.Duration(seconds)*time.Second, waitMax)
			}
		case "respond-async":
			wait = 0
		}
	}
	return wait
}
