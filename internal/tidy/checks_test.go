package tidy

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/app/verify"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/proof"
)

// believe has the planner believe something else of every table: that it is empty or has millions of rows, with what is known of
// its columns or without.
func believe(ctx context.Context, tx postgres.Tx, tables []string, r *rand.Rand) error {
	const forgetSQL = `delete from pg_statistic where starelid = any(select oid from pg_class where relnamespace = 'public'::regnamespace)`
	if r.IntN(2) == 0 {
		if _, err := tx.Exec(ctx, forgetSQL); err != nil {
			return err
		}
	}
	sizes := []float32{1, 1, 1, 100, 1e4, 1e6, 1e8}
	counts := make([]float32, len(tables))
	for i := range counts {
		counts[i] = sizes[r.IntN(len(sizes))]
	}
	const believeSQL = `
		update pg_class c set relpages = greatest(1, pg_relation_size(c.oid) / 8192), reltuples = b.count
		from unnest($1::text[], $2::real[]) as b (name, count)
		where c.relname = b.name and c.relnamespace = 'public'::regnamespace`
	_, err := tx.Exec(ctx, believeSQL, tables, counts)
	return err
}

// endless are the nodes of a plan whose time grows with the product of two tables, and not with their sum.
func (n *explained) endless() []string {
	var found []string
	switch n.Type {
	case "Hash Join":
		if joinsByTenant(n.HashCondition) {
			found = append(found, "all of a tenant's rows are joined with each other, by "+n.HashCondition)
		}
	case "Merge Join":
		found = append(found, "a merge join")
	case "Nested Loop":
		inner := n.Parts[1]
		for inner.Type == "Memoize" {
			inner = inner.Parts[0]
		}
		if inner.Type != "Function Scan" { // of a value of the row's
			found = append(found, fmt.Sprintf("a nested loop over a %s of %s", inner.Type, inner.Relation))
		}
	}
	for i := range n.Parts {
		part := &n.Parts[i]
		if part.Relationship == "SubPlan" && !strings.Contains(n.Filter+n.JoinFilter, "hashed "+part.Name) {
			found = append(found, "a query for every row, "+part.Name)
		}
		found = append(found, part.endless()...)
	}
	return found
}

// joinsByTenant tells whether a condition compares nothing but organisations.
func joinsByTenant(condition string) bool {
	for part := range strings.SplitSeq(condition, " AND ") {
		if strings.Count(part, "org_id") < 2 {
			return false
		}
	}
	return true
}

// explainChecks explains all that verify asks, within its settings, under so many states of the statistics, and names what may never
// end. change comes after the settings.
func (l *laboratory) explainChecks(states int, change string) map[string]bool {
	l.Helper()
	found := map[string]bool{}
	tables := l.tables("")
	for state := range uint64(states) {
		err := l.db.DryRun(l.Context(), func(ctx context.Context, tx postgres.Tx) error {
			if _, err := proof.RunIn(ctx, tx, clock.System, nil, nil); err != nil { // sets the session up, and asks nothing
				return err
			}
			if _, err := tx.Exec(ctx, change); err != nil {
				return err
			}
			if err := believe(ctx, tx, tables, rand.New(rand.NewPCG(state, 0))); err != nil {
				return err
			}
			for _, part := range verify.Parts() {
				for _, c := range part.Checks {
					plan, err := explainIn(ctx, tx, c.SQL)
					if err != nil {
						return fmt.Errorf("explain %s: %w", c.Name, err)
					}
					for _, flaw := range plan.endless() {
						found[c.Name+": "+flaw] = true
					}
				}
			}
			return nil
		})
		if err != nil {
			l.Fatal(err)
		}
	}
	return found
}

// explainIn reads the plan that a statement has in a transaction.
func explainIn(ctx context.Context, tx postgres.Tx, sql string) (explained, error) {
	rows, err := tx.Query(ctx, "explain (format json) "+sql)
	if err != nil {
		return explained{}, err
	}
	raw, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[[]byte])
	if err != nil {
		return explained{}, err
	}
	var plans []struct{ Plan explained }
	if err := json.Unmarshal(raw, &plans); err != nil {
		return explained{}, err
	}
	return plans[0].Plan, nil
}

func TestChecksEndWhateverTheStatisticsSay(t *testing.T) {
	t.Parallel()
	l := newLaboratory(t)
	l.fill(1, 40)
	l.run("analyze")
	for flaw := range l.explainChecks(20, `select`) {
		t.Error(flaw)
	}
}

func TestChecksThatNeedNotEndAreSeen(t *testing.T) {
	t.Parallel()
	l := newLaboratory(t)
	l.fill(1, 40)
	l.run("analyze")
	const undoSQL = `select set_config('join_collapse_limit', '8', true), set_config('enable_indexscan', 'on', true)`
	if found := l.explainChecks(5, undoSQL); len(found) == 0 {
		t.Error("nothing is found where the planner may choose the order of joins")
	}
}

// Of a statement with limit 10 the planner expects that ten rows are enough, unless it has to sort all.
func TestChecksAreOrderedByWhatNoIndexKnows(t *testing.T) {
	t.Parallel()
	for _, part := range verify.Parts() {
		for _, c := range part.Checks {
			last := c.SQL[strings.LastIndex(c.SQL, "\n")+1:]
			if c.Judge == nil && !(strings.HasPrefix(last, "\torder by 4, 1, ") && strings.HasSuffix(last, fmt.Sprintf(" limit %d", proof.FindingsMax))) {
				t.Errorf("%s ends in %q, not in order by 4, 1, 2 limit %d", c.Name, last, proof.FindingsMax)
			}
		}
	}
}
