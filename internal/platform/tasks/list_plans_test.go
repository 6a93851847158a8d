package tasks

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// A history: one task in ten has failed for good and left a dead letter, half of these of one fingerprint; the latest have not ended.
const (
	pastIDs = `
	select n, '00000000-0000-0000-0000-000000000001'::uuid as org_id, n % 10 = 7 as dead, n > 19000 as live,
		(lpad(to_hex((extract(epoch from now()) * 1000)::bigint), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid as id
	from generate_series($1::int, $2) n`
	pastTasksSQL = `
	insert into task (org_id, id, queue, kind, args, subject_type, subject_id, destination, tags, created_at)
	select org_id, id, 'queue-' || n % 20, 'http', '{}', 'invoice', case when n % 3 = 0 then 'often' else 'inv-' || n / 3 end,
		case when n % 5000 = 0 then 'rare' else 'api-' || n % 4 end, case when n % 5000 = 0 then array['rare'] end, now()
	from (` + pastIDs + `) t`
	pastAttemptsSQL = `
	insert into task_attempt (org_id, task_id, number, node, started_at, finished_at, outcome, next_due_at)
	select org_id, id, number, 'node', now(), now(), case when dead then 'failed' else 'succeeded' end, case when dead and number < 3 then now() end
	from (` + pastIDs + `) t, generate_series(1, case when dead then 3 else 1 end) number
	where not live`
	pastLettersSQL = `
	insert into task_dead_letter (org_id, task_id, queue, destination, kind, subject_type, subject_id, reason, fingerprint, attempts,
		dead_at, resolution, resolved_at, spec)
	select org_id, id, 'queue-1', 'api-1', 'http', 'invoice', 'inv-' || n / 3, 'max_attempts',
		case when n % 20 = 7 then 'fp-often' else 'fp-' || n % 100 end, 3, now() - (20000 - n) * interval '1 s',
		case when n % 100 = 37 then 'discarded' else 'open' end, case when n % 100 = 37 then now() end, '{}'
	from (` + pastIDs + `) t
	where dead and not live`
	pastLiveSQL = `
	insert into task_live (org_id, task_id, line, state, due_at)
	select org_id, id, md5((n % 7)::text)::uuid, case n % 3 when 0 then 'available' when 1 then 'retryable' else 'scheduled' end, now()
	from (` + pastIDs + `) t
	where live`
	pastEdgeSQL = `select id::text from task where org_id = '00000000-0000-0000-0000-000000000001' order by id desc offset $1 limit 1`
)

// TestNoListWalksTheHistory asks for small pages: what no more than a window has to be read for must not cost more than that.
func TestNoListWalksTheHistory(t *testing.T) {
	b := setup(t)
	db, err := postgres.Open(t.Context(), b.db.Pool().Config().ConnString(), postgres.Options{ConnectionsMax: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	b.db = db
	past := func(from, to int) {
		for _, sql := range []string{pastTasksSQL, pastAttemptsSQL, pastLettersSQL, pastLiveSQL} {
			b.exec(sql, from, to)
		}
	}
	for _, state := range []string{"analysed when small", "never analysed", "analysed"} {
		switch state {
		case "analysed when small":
			past(1, 20)
			b.exec(`analyze task, task_live, task_attempt, task_dead_letter`)
			past(21, 20000)
		case "never analysed":
			b.exec(`truncate task, task_live, task_attempt, task_dead_letter`)
			past(1, 20000)
		case "analysed":
			b.exec(`analyze task, task_live, task_attempt, task_dead_letter`)
		}
		b.explainLists(state)
	}
}

func (b *bench) explainLists(state string) {
	b.Helper()
	const (
		org  = "'00000000-0000-0000-0000-000000000001'"
		none = "'','','','','','',''"
	)
	var before, from string // with a hundred tasks in between
	for at, into := range map[int]*string{3000: &before, 3100: &from} {
		if err := b.db.Pool().QueryRow(b.Context(), pastEdgeSQL, at).Scan(into); err != nil {
			b.Fatal(err)
		}
	}
	window := fmt.Sprintf("%s,'%s','%s',101,", org, before, from)
	letters := org + ",now() - interval '1 hour','" + before + "',now() - interval '1 hour 15 minutes','" + from + "',101"
	for name, s := range map[string]struct{ sql, args string }{
		"edge":                 {edgeSQL, org + ",'" + before + "',100"},
		"list":                 {listSQL, window + none + ",101"},
		"list, a state":        {listSQL, window + "'discarded','','','','','','',2000"},
		"live edge":            {liveEdgeSQL, org + ",'ffffffff-0000-0000-0000-000000000000',100"},
		"list live":            {listLiveSQL, org + ",'ffffffff-0000-0000-0000-000000000000','" + from + "',101,'running','','','','','','',2000"},
		"subject edge":         {subjectEdgeSQL, org + ",'" + before + "',100,'often'"},
		"list of subject":      {listSubjectSQL, window + "'','','','','','often','',101"},
		"list of rare subject": {listSubjectSQL, window + "'','','','','','inv-5500','',101"},
		"destination edge":     {destinationEdgeSQL, org + ",'" + before + "',100,'api-1'"},
		"list of destination":  {listDestinationSQL, window + "'discarded','','api-1','','','','',2000"},
		"get":                  {shownSQL, org + ",'" + before + "'"},
		"attempts":             {attemptsSQL, org + ",'" + before + "',2000000000,20"},
		"counts":               {countsSQL, org + ",'queue-1',100"},
		"open edge":            {openEdgeSQL, org + ",now() - interval '1 hour','" + before + "',100"},
		"list open":            {listOpenSQL, none + "," + letters + ",2500"},
		"print edge":           {printEdgeSQL, org + ",now() - interval '1 hour','" + before + "',50,'fp-often'"},
		"list print":           {listPrintSQL, "'','fp-often','','','','',''," + letters},
		"resolved edge":        {resolvedEdgeSQL, org + ",'" + before + "',100"},
		"groups":               {groupsSQL, org + ",'',10,11"},
	} {
		plan := b.explain(s.sql, s.args)
		for _, banned := range []string{"Seq Scan", "Hash Join", "Merge Join"} {
			if strings.Contains(plan, banned) {
				b.Errorf("%s, %s: %s\n%s", name, state, banned, plan)
			}
		}
		if most := mostRows(plan); most > 1100 {
			b.Errorf("%s, %s: %d rows are read\n%s", name, state, most, plan)
		}
	}
}

// mostRows is the most rows that any part of a plan has met, those included that it then left aside.
func mostRows(plan string) int {
	most, loops := 0, 1
	actual, removed := regexp.MustCompile(`actual rows=(\d+)(?:\.\d+)? loops=(\d+)`), regexp.MustCompile(`Rows Removed by .*: (\d+)`)
	for line := range strings.Lines(plan) {
		if m := actual.FindStringSubmatch(line); m != nil {
			rows, _ := strconv.Atoi(m[1]) // always are digits
			loops, _ = strconv.Atoi(m[2])
			most = max(most, rows*loops)
		} else if m := removed.FindStringSubmatch(line); m != nil {
			rows, _ := strconv.Atoi(m[1])
			most = max(most, rows*loops)
		}
	}
	return most
}
