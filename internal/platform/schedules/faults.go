package schedules

import "github.com/kontorhq/kontor/internal/kit/fault"

// The module's faults. Their codes are part of the API.
var (
	ErrInvalid         = fault.New(fault.Invalid, "schedule_invalid", "The schedule has mistakes; each is named.")
	ErrNotFound        = fault.New(fault.NotFound, "schedule_not_found", "There is no such schedule.")
	ErrNameTaken       = fault.New(fault.Conflict, "schedule_name_taken", "Another schedule has that name.").At("name")
	ErrVersionConflict = fault.New(fault.Conflict, "schedule_version_conflict",
		"The schedule was changed in between. Read it again, and repeat the change on what it is now.").At("version")
)
