package layering

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"slices"
	"strings"
)

// check returns every breach of the plan and the rules, as sentences with their place and remedy.
func check(packs map[string]*pack) (breaches []string) {
	for _, name := range slices.Sorted(maps.Keys(packs)) {
		p := packs[name]
		breaches = append(breaches, checkImports(p)...)
		breaches = append(breaches, checkReserved(p)...)
		breaches = append(breaches, checkPlanes(p)...)
		breaches = append(breaches, checkForm(p)...)
	}
	return append(breaches, checkStores(packs)...)
}

// checkImports holds a package to its row.
func checkImports(p *pack) (breaches []string) {
	row, found := rowOf(p.path)
	if !found {
		if p.onlyTests() {
			return nil
		}
		return []string{p.path + " has no row: add one to plan() in shared/layering/table.go that says what it may import"}
	}
	for _, imported := range p.imports() {
		own, isOwn := strings.CutPrefix(imported, module)
		if isOwn && !withinAny(own, append(everywhere(), row.may...)) {
			breaches = append(breaches, fmt.Sprintf(
				"%s imports %s, which its row does not allow: turn the dependency round (an interface at the consumer), or change the row in shared/layering/table.go together with ARCHITECTURE.md", p.path, own))
		}
	}
	return breaches
}

func rowOf(name string) (room, bool) {
	rows := plan()
	if i := slices.IndexFunc(rows, func(r room) bool { return within(name, r.name) }); i >= 0 {
		return rows[i], true
	}
	return room{}, false
}

// checkReserved holds imports to the packages that they belong to.
func checkReserved(p *pack) (breaches []string) {
	for _, rule := range reservations() {
		if withinAny(p.path, rule.to) || slices.Contains(rule.to, "**test") && strings.HasSuffix(p.path, "test") {
			continue
		}
		for _, imported := range p.imports() {
			if withinAny(imported, rule.imports) {
				breaches = append(breaches, fmt.Sprintf("%s imports %s: %s", p.path, imported, rule.why))
			}
		}
	}
	return breaches
}

// checkPlanes keeps the two planes apart, in tests too. It does not rely on the table, where a careless row
// could join them.
func checkPlanes(p *pack) (breaches []string) {
	apart := map[string]string{"controlplane": "dataplane", "dataplane": "controlplane"}
	plane, _, _ := strings.Cut(p.path, "/")
	for _, file := range p.sources {
		for _, imported := range file.imports {
			own, isOwn := strings.CutPrefix(imported, module)
			to, _, _ := strings.Cut(own, "/")
			switch {
			case isOwn && to != "" && to == apart[plane]:
				breaches = append(breaches, fmt.Sprintf("%s imports %s: the planes never import each other; what both need lies in shared", file.path, own))
			case isOwn && plane == "shared" && apart[to] != "":
				breaches = append(breaches, fmt.Sprintf("%s imports %s: imports run downwards, from the planes to shared", file.path, own))
			}
		}
	}
	return breaches
}

// checkStores follows the imports of the database layer all the way down: nothing it could reach may
// decrypt.
func checkStores(packs map[string]*pack) (breaches []string) {
	for _, name := range slices.Sorted(maps.Keys(packs)) {
		if !within(name, "controlplane/store/...") {
			continue
		}
		trail := map[string]string{name: name}
		for queue := []string{name}; len(queue) > 0; queue = queue[1:] {
			p := packs[queue[0]]
			if p == nil {
				continue
			}
			if withinAny(p.path, []string{"shared/aead", "controlplane/keyring/...", "controlplane/encryption"}) {
				breaches = append(breaches, trail[p.path]+": the database layer must not reach the ciphers")
				continue
			}
			for _, imported := range p.imports() {
				if own, isOwn := strings.CutPrefix(imported, module); isOwn && trail[own] == "" {
					trail[own] = trail[p.path] + " → " + own
					queue = append(queue, own)
				}
			}
		}
	}
	return breaches
}

// checkForm holds the files themselves to the rules that need no types.
func checkForm(p *pack) (breaches []string) {
	if slices.Contains(forbiddenNames(), path.Base(p.path)) {
		breaches = append(breaches, p.path+": the name says no duty; name the package after the one thing it does")
	}
	documented := p.onlyTests()
	for _, file := range p.sources {
		documented = documented || file.generated || !file.test && file.syntax.Doc != nil
		if file.generated {
			continue
		}
		if file.lines > maxLines {
			breaches = append(breaches, fmt.Sprintf("%s has %d lines, more than %d: split it by duty", file.path, file.lines, maxLines))
		}
		if name := strings.TrimSuffix(path.Base(file.path), ".go"); slices.Contains(forbiddenNames(), name) {
			breaches = append(breaches, file.path+": the name says no duty; name the file after what it does")
		}
		for _, declaration := range file.syntax.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok && function.Recv == nil && function.Name.Name == "init" {
				breaches = append(breaches, file.path+" has an init function: nothing runs at import; call it from app")
			}
		}
	}
	if !documented {
		breaches = append(breaches, p.path+" has no package comment: say its one duty in a sentence")
	}
	return breaches
}
