package tidy

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// statement is a package-level constant that holds SQL.
type statement struct {
	name string // commerce/ledger.lockAccountsSQL
	sql  string
	hot  bool // marked "// hot": on the path of every payment or entry, so its plan is looked at
	at   finding
}

// statementsOf lists a package's statements, also those within groups of constants.
func statementsOf(p *pkg) []statement {
	var all []statement
	for _, file := range p.files {
		for _, d := range file.Decls {
			group, ok := d.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, s := range group.Specs {
				spec := s.(*ast.ValueSpec)
				for _, name := range spec.Names {
					value := p.info.Defs[name].(*types.Const).Val()
					if !strings.HasSuffix(name.Name, "SQL") || value.Kind() != constant.String {
						continue
					}
					all = append(all, statement{
						name: strings.TrimPrefix(p.path, "internal/") + "." + name.Name, sql: constant.StringVal(value),
						hot: marked(spec.Doc) || !group.Lparen.IsValid() && marked(group.Doc), at: p.at(name, ""),
					})
				}
			}
		}
	}
	return all
}

// marked tells whether a line of the comment says no more than "hot".
func marked(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return c.Text == "// hot" })
}

// looksLikeSQL tells a statement from other texts.
var looksLikeSQL = regexp.MustCompile(`(?s)^\s*(select\s.+\sfrom\s|select\s+\w+\(|with\s+\w+\s+as\s|update\s+\w+\s+(\w+\s+)?set\s|delete\s+from\s|insert\s+into\s|(create|alter|drop)\s+(table|index|database)\s)`)

// wellNamed wants every text that is SQL to be a constant of the package with a name that ends in SQL.
func wellNamed(p *pkg) []finding {
	var found []finding
	own := map[ast.Expr]bool{}
	for _, file := range p.files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, v := range n.Values {
					c, isConst := p.info.Defs[n.Names[i]].(*types.Const)
					if isConst && c.Parent() == p.types.Scope() && strings.HasSuffix(c.Name(), "SQL") {
						own[v] = true
					}
				}
			case ast.Expr:
				value := p.info.Types[n].Value
				if value == nil || value.Kind() != constant.String || !looksLikeSQL.MatchString(constant.StringVal(value)) {
					return true
				}
				if _, named := n.(*ast.Ident); !named && !own[n] {
					found = append(found, p.at(n, "SQL outside a package-level constant whose name ends in SQL"))
				}
				return false
			}
			return true
		})
	}
	return found
}

// exactStatements wants every statement that is sent to the database to be such a constant: named on the spot, or
// through a variable, a parameter or a field named SQL that gets nothing else.
func exactStatements(p *pkg) []finding {
	s := &senders{pkg: p, seen: map[types.Object]bool{}}
	for _, file := range p.files {
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				s.checkCall(call)
			}
			if literal, ok := n.(*ast.CompositeLit); ok {
				s.checkFields(literal)
			}
			return true
		})
	}
	return s.found
}

type senders struct {
	*pkg
	seen  map[types.Object]bool
	found []finding
}

// checkCall looks at the statement of a call of pgx's Query, QueryRow, Exec, Queue or Prepare.
func (s *senders) checkCall(call *ast.CallExpr) {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return
	}
	method, ok := s.info.Uses[selector.Sel].(*types.Func)
	if !ok || method.Pkg() == nil || !slices.Contains([]string{"Query", "QueryRow", "Exec", "Queue", "Prepare"}, method.Name()) {
		return
	}
	home := method.Pkg().Path()
	if !strings.HasPrefix(home, "github.com/jackc/pgx/") && home != "database/sql" && home != modulePath+"/internal/kit/postgres" {
		return
	}
	parameters := method.Signature().Params()
	for i := range parameters.Len() {
		if basic, ok := parameters.At(i).Type().(*types.Basic); ok && basic.Kind() == types.String {
			s.checkText(call.Args[i])
			return
		}
	}
}

// checkFields looks at what fields named SQL are given: it is sent somewhere else.
func (s *senders) checkFields(literal *ast.CompositeLit) {
	for _, element := range literal.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		if key, ok := pair.Key.(*ast.Ident); ok && key.Name == "SQL" {
			if field, ok := s.info.Uses[key].(*types.Var); ok && field.IsField() {
				s.checkText(pair.Value)
			}
		}
	}
}

// checkText follows a text to where it comes from.
func (s *senders) checkText(e ast.Expr) {
	switch e := e.(type) {
	case *ast.Ident:
		switch o := s.info.Uses[e].(type) {
		case *types.Const:
			if o.Pkg() != nil && o.Parent() == o.Pkg().Scope() && strings.HasSuffix(o.Name(), "SQL") {
				return
			}
		case *types.Var:
			if s.seen[o] {
				return
			}
			s.seen[o] = true
			if s.checkSources(o) {
				return
			}
		}
	case *ast.SelectorExpr:
		switch o := s.info.Uses[e.Sel].(type) {
		case *types.Const:
			if strings.HasSuffix(o.Name(), "SQL") {
				return
			}
		case *types.Var:
			if o.IsField() && o.Name() == "SQL" {
				return // checkFields looks at what it is given
			}
		}
	}
	s.found = append(s.found, s.at(e, "a statement that is not a constant whose name ends in SQL"))
}

// checkSources follows a local variable to all that is assigned to it, a parameter to all calls of its function. False
// means that neither is known.
func (s *senders) checkSources(v *types.Var) bool {
	known := false
	for _, file := range s.files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					target, ok := left.(*ast.Ident)
					if !ok || s.info.Defs[target] != v && s.info.Uses[target] != v {
						continue
					}
					known = true
					if len(n.Lhs) != len(n.Rhs) || n.Tok == token.ADD_ASSIGN {
						s.found = append(s.found, s.at(n, "a statement that is put together"))
						continue
					}
					s.checkText(n.Rhs[i])
				}
			case *ast.FuncDecl:
				if position := parameterOf(s.info, n, v); position >= 0 {
					known = s.checkCallers(s.info.Defs[n.Name], position)
				}
			}
			return true
		})
	}
	return known
}

// parameterOf is the position of the variable among the function's parameters, or -1.
func parameterOf(info *types.Info, f *ast.FuncDecl, v *types.Var) int {
	parameters := info.Defs[f.Name].(*types.Func).Signature().Params()
	for i := range parameters.Len() {
		if parameters.At(i) == v {
			return i
		}
	}
	return -1
}

// checkCallers looks at what an unexported function is called with.
func (s *senders) checkCallers(f types.Object, position int) bool {
	if f.Exported() {
		return false
	}
	known := false
	for _, file := range s.files {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			var called types.Object
			switch fun := call.Fun.(type) {
			case *ast.Ident:
				called = s.info.Uses[fun]
			case *ast.SelectorExpr:
				called = s.info.Uses[fun.Sel]
			}
			if called == f {
				known = true
				s.checkText(call.Args[position])
			}
			return true
		})
	}
	return known
}

// tableWritten finds the tables that a statement changes.
var tableWritten = regexp.MustCompile(`(?i)\b(?:insert\s+into|delete\s+from|update)\s+([a-z_]+)(?:\s+(?:[a-z_]+\s+)?(?:set|\(|where|using)|\s*\()`)

// ownTables wants a package to change only tables that its documentation says it owns.
func ownTables(p *pkg) []finding {
	var found []finding
	documentation := docOf(p)
	for _, s := range statementsOf(p) {
		for _, match := range tableWritten.FindAllStringSubmatch(s.sql, -1) {
			if !regexp.MustCompile(`\b` + match[1] + `\b`).MatchString(documentation) {
				s.at.text = "writes the table " + match[1] + ", which the package's documentation does not name as its own"
				found = append(found, s.at)
			}
		}
	}
	return found
}

// docOf is the package's documentation.
func docOf(p *pkg) string {
	for _, file := range p.files {
		if file.Doc != nil {
			return file.Doc.Text()
		}
	}
	return ""
}

func TestStatementsAreConstants(t *testing.T) {
	t.Parallel()
	excused := exceptions{
		"internal/kit/postgres/transaction.go":      "hands on what others have named",
		"internal/kit/postgres/partitions.go":       "makes and drops partitions, whose names come from the catalogue",
		"internal/kit/postgres/pool.go":             "passes its callers' statements on, which are looked at where they call",
		"internal/kit/postgrestest/cluster.go":      "administers the tests' cluster",
		"internal/kit/postgrestest/postgrestest.go": "makes the tests' databases",
		"internal/kit/postgrestest/shared.go":       "drops the tests' databases",
		"internal/kit/postgrestest/template.go":     "makes the database that tests are cloned from",
		"internal/kit/pgserver/pgserver.go":         "makes a database in a cluster that has none of Kontor's tables yet",
		"internal/kit/prooftest/prooftest.go":       "damages what a module's test says, which is rolled back",
	}
	hold(t, append(everywhere(t, exactStatements), everywhere(t, wellNamed)...), excused)
}

func TestStatementsThatAreNoConstantsAreSeen(t *testing.T) {
	t.Parallel()
	mustReject(t, "statements", func(p *pkg) []finding { return exactStatements(p) })
	mustReject(t, "sqlnames", wellNamed)
}

func TestPackagesWriteTheirOwnTables(t *testing.T) {
	t.Parallel()
	hold(t, everywhere(t, ownTables), exceptions{})
}

func TestWritesToForeignTablesAreSeen(t *testing.T) {
	t.Parallel()
	mustReject(t, "tables", ownTables)
}
