package main

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// outcome is what became of a mutant.
type outcome int

const (
	// notReached by any test.
	notReached outcome = iota
	// survived all tests that come past it.
	survived
	// killed: a test failed or the process ended.
	killed
	// timedOut is a mutant that made the tests run on and on, which is noticed too.
	timedOut
	outcomes
)

func (o outcome) String() string {
	return [...]string{"not reached", "survived", "killed", "timed out"}[o]
}

// MarshalText implements encoding.TextMarshaler.
func (o outcome) MarshalText() ([]byte, error) { //nolint:unparam // The interface has the error.
	return []byte(o.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *outcome) UnmarshalText(text []byte) error {
	for one := range outcomes {
		if one.String() == string(text) {
			*o = one
			return nil
		}
	}
	return fmt.Errorf("%q is no outcome", text)
}

func (o outcome) dead() bool { return o == killed || o == timedOut }

// mutant is one change of the code.
type mutant struct {
	Number   int
	Place    string // file:line:column
	Operator string
	From, To string
	Outcome  outcome
	// Test is what killed it, as far as that is known.
	Test   string
	wanted bool
	// known reports whether the outcome was taken over from an earlier run.
	known bool
}

func (m *mutant) String() string {
	return fmt.Sprintf("%s: %s: %s => %s", m.Place, m.Operator, m.From, m.To)
}

// change is a node of the source in whose place a mutant may stand.
type change struct {
	from, to int // offsets in the file
	// typ is the type of an expression; a statement has none.
	typ  string
	alts []alternative
}

// alternative is what stands in place of a node while a mutant is switched on.
type alternative struct {
	number int
	text   string
}

// finder goes through a file and collects its mutants.
type finder struct {
	*pkg
	*source
	number *int
	// imports are the names that the file has for packages, by path.
	imports map[string]string
	// tagless are the cases of switches that have conditions.
	tagless map[*ast.CaseClause]bool
}

// mutate finds the mutants of the package, and numbers them on from number.
func (p *pkg) mutate(number *int) error {
	for _, s := range p.files {
		f := &finder{pkg: p, source: s, number: number, imports: make(map[string]string), tagless: make(map[*ast.CaseClause]bool)}
		for _, spec := range s.syntax.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if spec.Name != nil {
				f.imports[imported] = spec.Name.Name
			} else {
				f.imports[imported] = "" // the name that the package gives itself
			}
		}
		for _, declaration := range s.syntax.Decls {
			f.walk(declaration, nil)
		}
	}
	return nil
}

// walk visits a node and what is in it, but for what has to be a constant. The results are those of the function around it.
func (f *finder) walk(root ast.Node, results *types.Tuple) {
	ast.Inspect(root, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			return n.Tok == token.VAR
		case *ast.ArrayType, *ast.StructType, *ast.InterfaceType, *ast.FuncType, *ast.MapType:
			return false
		case *ast.FuncDecl:
			if n.Body != nil {
				f.walk(n.Body, f.info.Defs[n.Name].Type().(*types.Signature).Results())
			}
			return false
		case *ast.FuncLit:
			f.walk(n.Body, f.info.Types[n].Type.(*types.Signature).Results())
			return false
		case *ast.BlockStmt:
			f.list(n.List, results)
		case *ast.CaseClause:
			f.list(n.Body, results)
			for _, one := range n.List {
				if f.tagless[n] {
					f.condition(one)
				}
			}
		case *ast.CommClause:
			f.list(n.Body, results)
		case *ast.SwitchStmt:
			for _, clause := range n.Body.List {
				f.tagless[clause.(*ast.CaseClause)] = n.Tag == nil
			}
		case *ast.IfStmt:
			f.condition(n.Cond)
		case *ast.ForStmt:
			if n.Cond != nil {
				f.condition(n.Cond)
			}
		case *ast.CompositeLit:
			f.composite(n, results)
			return false
		case ast.Expr:
			return f.expression(n)
		}
		return true
	})
}

// composite visits a composite literal, but for keys that are names of fields or indices.
func (f *finder) composite(n *ast.CompositeLit, results *types.Tuple) {
	t := f.info.Types[n].Type.Underlying()
	if pointer, ok := t.(*types.Pointer); ok {
		t = pointer.Elem().Underlying()
	}
	_, isMap := t.(*types.Map)
	for _, element := range n.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); ok && !isMap {
			element = pair.Value
		}
		f.walk(element, results)
	}
}

// list makes mutants of the statements of a list.
func (f *finder) list(statements []ast.Stmt, results *types.Tuple) {
	for _, statement := range statements {
		if labeled, ok := statement.(*ast.LabeledStmt); ok {
			statement = labeled.Stmt
		}
		switch n := statement.(type) {
		case *ast.ReturnStmt:
			f.returns(n, results)
		case *ast.BranchStmt:
			if n.Tok == token.BREAK || n.Tok == token.CONTINUE {
				f.change(n, "", "statement", "")
			}
		case *ast.IncDecStmt:
			other := map[token.Token]string{token.INC: "--", token.DEC: "++"}[n.Tok]
			f.change(n, "", "increment", f.raw(n.X)+other, "")
		case *ast.AssignStmt:
			f.assignment(n)
		case *ast.ExprStmt:
			if call, ok := n.X.(*ast.CallExpr); ok {
				if name, ok := call.Fun.(*ast.Ident); ok && name.Name == "panic" {
					continue
				}
			}
			f.change(n, "", "statement", "")
		case *ast.DeferStmt, *ast.GoStmt, *ast.SendStmt:
			f.change(n, "", "statement", "")
		}
	}
}

var assignments = map[token.Token]string{
	token.ADD_ASSIGN: "-=", token.SUB_ASSIGN: "+=", token.MUL_ASSIGN: "/=", token.QUO_ASSIGN: "*=", token.REM_ASSIGN: "*=", token.AND_ASSIGN: "|=",
	token.OR_ASSIGN: "&=", token.XOR_ASSIGN: "|=", token.SHL_ASSIGN: ">>=", token.SHR_ASSIGN: "<<=", token.AND_NOT_ASSIGN: "&=",
}

func (f *finder) assignment(n *ast.AssignStmt) {
	if n.Tok == token.DEFINE {
		return
	}
	if name, ok := n.Lhs[0].(*ast.Ident); ok && len(n.Lhs) == 1 && name.Name == "_" {
		return
	}
	alts := []string{""}
	if other, ok := assignments[n.Tok]; ok {
		if isString(f.info.Types[n.Lhs[0]].Type) {
			other = "="
		}
		alts = append(alts, f.raw(n.Lhs[0])+" "+other+" "+f.raw(n.Rhs[0]))
	}
	f.change(n, "", "statement", alts...)
}

// returns makes mutants that return something else.
func (f *finder) returns(n *ast.ReturnStmt, results *types.Tuple) {
	if len(n.Results) == 0 {
		f.change(n, "", "statement", "")
		return
	}
	if results == nil || len(n.Results) != results.Len() {
		return
	}
	var alts []string
	for i, result := range n.Results {
		value := f.info.Types[result]
		if value.IsNil() || value.Value != nil || isZero(result) {
			continue
		}
		typ, ok := f.typeText(results.At(i).Type())
		if !ok {
			continue
		}
		others := []string{"*new(" + typ + ")"}
		if b, ok := results.At(i).Type().Underlying().(*types.Basic); ok && b.Info()&types.IsBoolean != 0 {
			others = []string{"true", "false"}
		}
		for _, other := range others {
			texts := make([]string, len(n.Results))
			for j := range n.Results {
				texts[j] = f.raw(n.Results[j])
			}
			texts[i] = other
			alts = append(alts, "return "+strings.Join(texts, ", "))
		}
	}
	f.change(n, "", "return", alts...)
}

func isZero(e ast.Expr) bool {
	literal, ok := e.(*ast.CompositeLit)
	return ok && len(literal.Elts) == 0
}

// condition negates a condition that no other operator negates.
func (f *finder) condition(e ast.Expr) {
	e = ast.Unparen(e)
	switch e.(type) {
	case *ast.CallExpr, *ast.Ident, *ast.SelectorExpr, *ast.IndexExpr:
		if f.info.Types[e].Value == nil {
			f.expressionChange(e, "condition", "!"+f.raw(e))
		}
	}
}

var binaries = map[token.Token][]string{
	token.LSS: {"<=", ">="}, token.LEQ: {"<", ">"}, token.GTR: {">=", "<="}, token.GEQ: {">", "<"}, token.EQL: {"!="}, token.NEQ: {"=="},
	token.ADD: {"-"}, token.SUB: {"+"}, token.MUL: {"/"}, token.QUO: {"*"}, token.REM: {"*"},
	token.AND: {"|"}, token.OR: {"&"}, token.XOR: {"&"}, token.SHL: {">>"}, token.SHR: {"<<"}, token.AND_NOT: {"&"},
	token.LAND: {"||"}, token.LOR: {"&&"},
}

// expression makes mutants of one expression, and reports whether to look inside.
func (f *finder) expression(e ast.Expr) bool {
	value := f.info.Types[e]
	if value.Value != nil && !value.IsType() {
		f.constant(e, value)
		return false
	}
	switch n := e.(type) {
	case *ast.BinaryExpr:
		left, right := f.raw(n.X), f.raw(n.Y)
		var alts []string
		for _, other := range binaries[n.Op] {
			alts = append(alts, left+" "+other+" "+right)
		}
		switch {
		case isString(value.Type):
			alts = []string{left, right}
		case n.Op == token.LAND || n.Op == token.LOR:
			alts = append(alts, left, right)
		}
		f.expressionChange(n, "operator", alts...)
	case *ast.UnaryExpr:
		if n.Op == token.NOT || n.Op == token.SUB {
			f.expressionChange(n, "operator", f.raw(n.X))
		}
	case *ast.CallExpr:
		return f.call(n)
	case *ast.SliceExpr:
		f.slice(n)
	}
	return true
}

// call exchanges min and max, and reports whether the arguments are worth a look: the texts of errors are not.
func (f *finder) call(n *ast.CallExpr) bool {
	switch fun := n.Fun.(type) {
	case *ast.Ident:
		if builtin, ok := f.info.Uses[fun].(*types.Builtin); ok {
			if other := map[string]string{"min": "max", "max": "min"}[builtin.Name()]; other != "" {
				f.expressionChange(n, "call", other+strings.TrimPrefix(f.raw(n), fun.Name))
			}
			return builtin.Name() != "panic" && builtin.Name() != "make" && builtin.Name() != "new"
		}
	case *ast.SelectorExpr:
		switch f.raw(fun) {
		case "errors.New", "fmt.Errorf":
			return false
		}
	}
	return true
}

// slice leaves a bound out.
func (f *finder) slice(n *ast.SliceExpr) {
	if n.Slice3 {
		return
	}
	// Of an array that is not addressable nothing else can be said either.
	var alts []string
	if n.Low != nil && n.High != nil {
		alts = []string{f.raw(n.X) + "[:" + f.raw(n.High) + "]", f.raw(n.X) + "[" + f.raw(n.Low) + ":]"}
	} else if n.Low != nil || n.High != nil {
		alts = []string{f.raw(n.X) + "[:]"}
	}
	f.expressionChange(n, "slice", alts...)
}

// constant makes another one of a constant: a number that is one greater, or twice as long a time, the other truth value, another text.
func (f *finder) constant(e ast.Expr, value types.TypeAndValue) {
	b, ok := value.Type.Underlying().(*types.Basic)
	if !ok {
		return
	}
	text := f.raw(e)
	switch {
	case b.Info()&types.IsBoolean != 0:
		f.expressionChange(e, "constant", "!"+text)
	case b.Info()&types.IsString != 0:
		if constant.StringVal(value.Value) == "" {
			f.expressionChange(e, "constant", `"mutant"`)
		} else {
			f.expressionChange(e, "constant", `""`)
		}
	case b.Info()&types.IsInteger != 0:
		n, exact := constant.Int64Val(value.Value)
		switch {
		case !exact:
		case n != 0 && strings.HasSuffix(value.Type.String(), "time.Duration"):
			f.expressionChange(e, "constant", "2*("+text+")")
		case b.Kind() == types.Uint8 && n == 255 || b.Kind() == types.Uint16 && n == 65535:
			f.expressionChange(e, "constant", "("+text+") - 1")
		default:
			f.expressionChange(e, "constant", "("+text+") + 1")
		}
	}
}

func isString(t types.Type) bool {
	if t == nil {
		return false
	}
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsString != 0
}

// expressionChange makes mutants of an expression whose type can be written down.
func (f *finder) expressionChange(e ast.Expr, operator string, alts ...string) {
	if typ, ok := f.typeText(f.info.Types[e].Type); ok {
		f.change(e, typ, operator, alts...)
	}
}

// change makes a mutant for each text that may stand in place of a node.
func (f *finder) change(n ast.Node, typ, operator string, alts ...string) {
	if len(alts) == 0 {
		return
	}
	c := &change{from: f.offset(n.Pos()), to: f.offset(n.End()), typ: typ}
	position := f.fset.Position(n.Pos())
	for _, alt := range alts {
		*f.number++
		m := &mutant{
			Number: *f.number, Operator: operator, From: oneLine(f.raw(n)), To: oneLine(alt),
			Place: fmt.Sprintf("%s:%d:%d", path.Join(filepath.ToSlash(f.path), filepath.Base(f.source.name)), position.Line, position.Column),
		}
		if alt == "" {
			m.To = "nothing"
		}
		f.mutants = append(f.mutants, m)
		c.alts = append(c.alts, alternative{number: m.Number, text: alt})
	}
	f.changes = append(f.changes, c)
}

// typeText writes a type as the file would.
func (f *finder) typeText(t types.Type) (text string, ok bool) {
	if t == nil {
		return "", false
	}
	ok = true
	text = types.TypeString(types.Default(t), func(p *types.Package) string {
		if p == f.types {
			return ""
		}
		name, imported := f.imports[p.Path()]
		if !imported {
			ok = false
		}
		if name == "" {
			name = p.Name()
		}
		return name
	})
	return text, ok && !strings.Contains(text, "untyped") && text != "invalid type"
}

func (f *finder) offset(p token.Pos) int { return f.fset.Position(p).Offset }

// raw is the text of a node as it stands in the file.
func (f *finder) raw(n ast.Node) string { return string(f.text[f.offset(n.Pos()):f.offset(n.End())]) }

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 120 {
		s = s[:117] + "..."
	}
	return s
}
