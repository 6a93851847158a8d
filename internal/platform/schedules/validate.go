package schedules

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

// Input is what a schedule is made of. Empty fields take the defaults named beside them.
type Input struct {
	Name                string        // unlike that of the organisation's other schedules
	Cron                string        // see ParseRule
	TimeZone            string        // of the IANA database; UTC
	MisfirePolicy       MisfirePolicy // once
	MisfireMax          int           // the most ticks that All makes up for; 100
	MisfireGraceSeconds int           // how late a tick is in time; 60
	Task                Template
}

// The bounds of an input.
const (
	misfireMaxMost    = 1000
	graceSecondsMost  = 24 * 60 * 60
	templateBytesMax  = 1 << 20
	expireSecondsMost = 366 * 24 * 60 * 60
)

var (
	nameForm        = regexp.MustCompile(`^[A-Za-z0-9-]{1,100}$`)
	kindForm        = regexp.MustCompile(`^[a-z0-9_.]{1,100}$`)
	destinationForm = regexp.MustCompile(`^[A-Za-z0-9-]{1,100}$`)
)

func (in Input) withDefaults() Input {
	if in.TimeZone == "" {
		in.TimeZone = "UTC"
	}
	if in.MisfirePolicy == "" {
		in.MisfirePolicy = Once
	}
	if in.MisfireMax == 0 {
		in.MisfireMax = 100
	}
	if in.MisfireGraceSeconds == 0 {
		in.MisfireGraceSeconds = 60
	}
	if in.Task.Queue == "" {
		in.Task.Queue = "default"
	}
	if in.Task.Kind != "" && len(in.Task.Args) == 0 {
		in.Task.Args = json.RawMessage("{}")
	}
	return in
}

// validate finds everything that is wrong, at once.
func (in Input) validate() error {
	var p problems
	p.require(nameForm.MatchString(in.Name), "name", "A name has 1 to 100 of letters, digits and hyphens.")
	p.rule(in.Cron, in.TimeZone)
	p.require(in.MisfirePolicy == Skip || in.MisfirePolicy == Once || in.MisfirePolicy == All, "misfire_policy",
		"misfire_policy is skip, once or all.")
	p.require(in.MisfireMax >= 1 && in.MisfireMax <= misfireMaxMost, "misfire_max", "misfire_max is from 1 to 1000.")
	p.require(in.MisfireGraceSeconds >= 1 && in.MisfireGraceSeconds <= graceSecondsMost, "misfire_grace_seconds",
		"misfire_grace_seconds is from 1 to 86400.")
	in.Task.validate(&p)
	return p.fault()
}

func (t Template) validate(p *problems) {
	p.require(nameForm.MatchString(t.Queue), "task.queue", "A queue's name has 1 to 100 of letters, digits and hyphens.")
	p.require(t.Terms.ExpireAfterSeconds >= 0 && t.Terms.ExpireAfterSeconds <= expireSecondsMost, "task.expire_after_seconds",
		"expire_after_seconds is from 1 to 31622400.")
	p.require(t.Destination == "" || destinationForm.MatchString(t.Destination), "task.destination",
		"A destination's name has 1 to 100 of letters, digits and hyphens.")
	switch {
	case (t.Kind == "") == (len(t.HTTPRequest) == 0):
		p.require(false, "task", "A task has either a kind or an http_request.")
	case t.Kind != "":
		p.require(kindForm.MatchString(t.Kind), "task.kind", "A kind has 1 to 100 of small letters, digits, _ and dots.")
		p.document(t.Args, "task.args")
	default:
		p.require(len(t.Args) == 0, "task.args", "Only a task with a kind has args.")
		p.require(t.Destination != "", "task.destination", "An HTTP request goes to a destination.")
		args, err := readRequest(t.HTTPRequest)
		p.require(isDocument(t.HTTPRequest) && err == nil && args.Request.Method != "" && args.Request.URL != "", "task.http_request",
			"http_request is a JSON object of at most 1 MiB: a request with a method and a URL.")
	}
}

// problems gathers what is wrong with a request.
type problems []fault.Problem

func (p *problems) require(holds bool, param, detail string) {
	if !holds {
		*p = append(*p, fault.Problem{Param: param, Detail: detail})
	}
}

func (p *problems) rule(expression, zone string) {
	_, m := parseRule(expression, zone, time.Unix(0, 0))
	if m.cron != nil {
		p.require(false, "cron", "The expression "+m.cron.Error()+".")
	}
	if m.zone != nil {
		p.require(false, "time_zone", "time_zone "+m.zone.Error()+".")
	}
}

func (p *problems) document(raw []byte, param string) {
	p.require(isDocument(raw), param, "This is a JSON object of at most 1 MiB.")
}

func isDocument(raw []byte) bool {
	return len(raw) <= templateBytesMax && bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) && json.Valid(raw) && utf8.Valid(raw)
}

// fault is nil when nothing is wrong.
func (p problems) fault() error {
	if len(p) == 0 {
		return nil
	}
	f := *ErrInvalid
	f.Params = p
	return &f
}

// isText tells whether the database can keep it, and it is not too long.
func isText(s string, lengthMax int) bool {
	return len(s) <= lengthMax && utf8.ValidString(s) && !strings.Contains(s, "\x00")
}
