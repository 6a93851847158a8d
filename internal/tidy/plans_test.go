package tidy

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
)

// explained is one node of a plan.
type explained struct {
	Type          string      `json:"Node Type"`
	Relationship  string      `json:"Parent Relationship"`
	Name          string      `json:"Subplan Name"`
	Relation      string      `json:"Relation Name"`
	Index         string      `json:"Index Name"`
	Condition     string      `json:"Index Cond"`
	HashCondition string      `json:"Hash Cond"`
	JoinFilter    string      `json:"Join Filter"`
	Filter        string      `json:"Filter"`
	Parts         []explained `json:"Plans"`
}

// flaws are the nodes that look at more than they are asked for: at all of a table or index, or at all of a tenant's part.
// An index helps as far as its leading columns are given. keys are the columns of every index, empty the tables not to judge.
func (n *explained) flaws(keys map[string][]string, empty []string) []string {
	var found []string
	switch {
	case slices.Contains(empty, n.Relation):
	case n.Type == "Seq Scan":
		found = append(found, n.Type+" of "+n.Relation)
	case strings.Contains(n.Type, "Index"):
		given := conditionColumns(n.Condition)
		leading := slices.DeleteFunc(slices.Clone(keys[n.Index]), func(column string) bool { return column == "org_id" })
		if len(leading) == 0 || !slices.Contains(given, leading[0]) {
			found = append(found, fmt.Sprintf("%s is walked by %q", n.Index, n.Condition))
		}
	}
	for i := range n.Parts {
		found = append(found, n.Parts[i].flaws(keys, empty)...)
	}
	return found
}

// conditionColumns are the columns that an index condition pins down or bounds: the first word of each of its parts.
func conditionColumns(condition string) []string {
	var columns []string
	for part := range strings.SplitSeq(condition, " AND ") {
		if match := regexp.MustCompile(`^[( ]*(?:ROW\()?(?:\w+\.)?(\w+)`).FindStringSubmatch(part); match != nil {
			columns = append(columns, match[1])
		}
	}
	return columns
}

const indexColumnsSQL = `
	select c.relname, array_agg(a.attname::text order by k.position)
	from pg_index i
	join pg_class c on c.oid = i.indexrelid
	cross join lateral unnest(i.indkey::int2[]) with ordinality as k (number, position)
	join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
	where c.relnamespace = 'public'::regnamespace
	group by c.oid, c.relname`

// laboratory is a database whose size and statistics are the test's choice.
type laboratory struct {
	*testing.T
	db    *postgres.DB
	keys  map[string][]string // columns by index
	empty []string            // tables whose plans are not judged
}

func newLaboratory(t *testing.T) *laboratory {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgrestest.DB(t).URL, postgres.Options{ConnectionsMax: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	l := &laboratory{T: t, db: db, keys: map[string][]string{}}
	for _, table := range l.tables("") { // statistics change when the test says so
		l.run("alter table " + table + " set (autovacuum_enabled = off)")
	}
	rows, err := db.Pool().Query(t.Context(), indexColumnsSQL)
	if err != nil {
		t.Fatal(err)
	}
	var index string
	var columns []string
	_, err = pgx.ForEachRow(rows, []any{&index, &columns}, func() error {
		l.keys[index], columns = columns, nil
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// tables lists the tables and partitions that have rows of their own.
func (l *laboratory) tables(condition string) []string {
	l.Helper()
	rows, err := l.db.Pool().Query(l.Context(), "select c.relname from pg_class c where c.relkind = 'r' and c.relname <> 'goose_db_version' and c.relnamespace = 'public'::regnamespace"+condition)
	if err != nil {
		l.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		l.Fatal(err)
	}
	return names
}

// run sends several statements at once.
func (l *laboratory) run(statements string) {
	l.Helper()
	conn, err := l.db.Pool().Acquire(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	defer conn.Release()
	if err := conn.Conn().PgConn().Exec(l.Context(), statements).Close(); err != nil {
		l.Fatal(err)
	}
}

// fill adds the rows first to last of testdata/tenant.sql.
func (l *laboratory) fill(first, last int) {
	l.Helper()
	raw, err := os.ReadFile("testdata/tenant.sql")
	if err != nil {
		l.Fatal(err)
	}
	l.run(strings.NewReplacer(":first", strconv.Itoa(first), ":last", strconv.Itoa(last)).Replace(string(raw)))
}

// explain shows the generic plan that the pool's sessions use for a statement, and reads it.
func (l *laboratory) explain(sql string) (explained, string) {
	l.Helper()
	ctx, pool := l.Context(), l.db.Pool() // of one connection
	if _, err := pool.Exec(ctx, "prepare explained as "+sql); err != nil {
		l.Fatal(err)
	}
	defer func() { _, _ = pool.Exec(context.WithoutCancel(ctx), "deallocate explained") }()
	var parameters int
	if err := pool.QueryRow(ctx, `select cardinality(parameter_types) from pg_prepared_statements where name = 'explained'`).Scan(&parameters); err != nil {
		l.Fatal(err)
	}
	execute := "execute explained"
	if parameters > 0 {
		execute += "(" + strings.TrimSuffix(strings.Repeat("null,", parameters), ",") + ")"
	}
	var raw []byte
	if err := pool.QueryRow(ctx, "explain (format json) "+execute).Scan(&raw); err != nil {
		l.Fatal(err)
	}
	var plans []struct{ Plan explained }
	if err := json.Unmarshal(raw, &plans); err != nil {
		l.Fatal(err)
	}
	rows, err := pool.Query(ctx, "explain (costs off) "+execute)
	if err != nil {
		l.Fatal(err)
	}
	var text strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			l.Fatal(err)
		}
		text.WriteString("\t" + line + "\n")
	}
	return plans[0].Plan, text.String()
}

// condition is a state of the database in which statements must have good plans, and how to get there from the one before.
type condition struct {
	name   string
	change func(l *laboratory)
	large  bool
}

// conditions are those in which plans are made that a connection then keeps. Two are missing on purpose. A table of a few
// rows may be walked; that plan goes when the table has grown enough to be analysed anew. And of a partition that is
// empty when it is analysed the planner expects that it stays so: what it would do there is not judged.
func conditions() []condition {
	const rows = 20_000
	return []condition{
		{name: "empty, never analysed", change: func(*laboratory) {}},
		{name: "large, never analysed", large: true, change: func(l *laboratory) { l.fill(1, rows) }},
		{name: "large, analysed when small", large: true, change: func(l *laboratory) {
			l.run("truncate " + strings.Join(l.tables(""), ", "))
			l.fill(1, 40)
			l.run("analyze")
			l.fill(41, rows)
		}},
		{name: "large, analysed", large: true, change: func(l *laboratory) { l.run("analyze") }},
		{name: "large, analysed when few had stayed", large: true, change: func(l *laboratory) {
			for _, table := range comeAndGo() {
				l.run("create table few as select * from " + table + " limit 3; truncate " + table + "; insert into " + table +
					" select * from few; analyze " + table + "; drop table few")
			}
		}},
	}
}

// comeAndGo are the tables whose rows stay for moments. Analysed when three were there, and under a long transaction, they seem
// small and have indexes with everything that was ever in them.
func comeAndGo() []string { return []string{"task_live", "task_key"} }

// walks finds the statements whose plans look at more than they are asked for.
func (l *laboratory) walks(all []statement, c condition) []finding {
	l.Helper()
	l.empty = nil
	if c.large {
		l.empty = l.tables(" and pg_relation_size(c.oid) = 0")
	}
	var found []finding
	for _, s := range all {
		plan, text := l.explain(s.sql)
		if flaws := plan.flaws(l.keys, l.empty); len(flaws) > 0 {
			s.at.text = s.name + ", " + c.name + ": " + strings.Join(flaws, "; ") + "\n" + text
			found = append(found, s.at)
		}
	}
	return found
}

func hot(all []statement) []statement {
	return slices.DeleteFunc(slices.Clone(all), func(s statement) bool { return !s.hot })
}

func TestHotStatementsProbeIndexes(t *testing.T) {
	t.Parallel()
	l, all := newLaboratory(t), hot(allStatements(t))
	for _, c := range conditions() {
		began := time.Now()
		c.change(l)
		t.Log(c.name, time.Since(began))
		for _, f := range l.walks(all, c) {
			t.Error(f)
		}
	}
	if len(all) < 20 {
		t.Errorf("only %d hot statements were found", len(all))
	}
}

func TestWalksAreSeen(t *testing.T) {
	t.Parallel()
	l := newLaboratory(t)
	l.fill(1, 200)
	mustReject(t, "plans", func(p *pkg) []finding { return l.walks(hot(statementsOf(p)), condition{name: "small"}) })
}
